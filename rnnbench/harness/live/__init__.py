"""Time the user's modules in the user's own process: the work of `rnnbench.measure(...)`."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from rnnbench.harness import devices
from rnnbench.harness.live.arms import Arm, arms_of, reference_of
from rnnbench.harness.live.calls import PHASES
from rnnbench.harness.live.outputs import outputs, parity, uneven
from rnnbench.harness.live.put_back import keep_buffers, keep_process
from rnnbench.harness.live.referee import compared_again
from rnnbench.harness.live.rounds import LiveRounds, Taken, named
from rnnbench.harness.machine import torch_state
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.records import Phase
from rnnbench.suite_file import Settings
from rnnbench.workloads.phases import TimedCall


@dataclass(frozen=True)
class Found:
    """The results for all arms."""

    taken: Taken
    reference: str
    parity: dict[str, str]
    parameters: dict[str, int | None]  # number of parameters; None for a function, whose parameters are unknown
    device: str
    threads: int
    torch: str
    notes: tuple[str, ...]  # what makes the arms' work unequal


@dataclass(frozen=True)
class ComparedModules:
    """Arms whose outputs were compared, with the call of each arm that is timed."""

    arms: dict[str, Arm]
    calls: dict[str, TimedCall]
    reference: str
    parity: dict[str, str]
    device: str
    threads: int
    notes: tuple[str, ...]  # what makes the arms' work unequal
    put_back: ExitStack  # restores everything else that is changed when it closes


def measure(
    modules: Mapping[str, Callable[..., object]],
    inputs: object,
    phase: Phase,
    reference: str | None,
    settings: Settings,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Found:
    """Compare and time the modules, and restore everything changed in this process, even after an error.

    Raises ValueError if the arguments do not fit together, and any error of a module, with the module's name in front.
    """
    started = time.monotonic()
    with ready(modules, inputs, phase, reference) as prepared:
        return timed(prepared, settings, started, on_progress)


def timed(found: ComparedModules, settings: Settings, started: float, on_progress: Callable[[Progress], None]) -> Found:
    """Time the prepared modules; `started` is the start of the budget, by `time.monotonic`."""
    deadline = None if settings.budget_seconds is None else started + settings.budget_seconds
    device = devices.open_device(found.device)
    rounds = LiveRounds(device, found.calls, found.reference, settings, deadline=deadline, on_progress=on_progress)
    taken = rounds.run()
    compared, note = compared_again(found.arms, found.calls, found.reference, found.parity)
    notes = (*found.notes, note) if note else found.notes
    counts = {name: _parameters(arm.run) for name, arm in found.arms.items()}
    return Found(taken, found.reference, compared, counts, found.device, found.threads, torch.__version__, notes)


@contextmanager
def ready(
    modules: Mapping[str, Callable[..., object]], inputs: object, phase: Phase, reference: str | None
) -> Iterator[ComparedModules]:
    """Compare the modules' outputs and make their calls; at the end, restore everything changed in this process.

    Raises ValueError if the arguments do not fit together, and any error of a module, with the module's name in front.
    """
    if phase not in PHASES:
        raise ValueError(f"phase: expected one of {', '.join(PHASES)}, found {phase!r}")
    arms = arms_of(modules, inputs)
    reference = reference_of(arms, reference)
    with ExitStack() as put_back:
        keep_process(put_back)
        for arm in arms.values():
            if isinstance(arm.run, nn.Module):
                keep_buffers(arm.run, put_back)
        by_arm = outputs(arms)
        device = str(by_arm[reference].device)
        compared = parity(by_arm, reference)
        notes = tuple(filter(None, [uneven(by_arm[reference].dtype, device, torch_state.capture())]))
        del by_arm  # frees the memory of the first calls before it is needed again
        calls = {}
        for name, arm in arms.items():
            with named(name):
                calls[name] = PHASES[phase](arm, put_back)
        yield ComparedModules(arms, calls, reference, compared, device, torch.get_num_threads(), notes, put_back)


def _parameters(module: Callable[..., object]) -> int | None:
    if not isinstance(module, nn.Module):
        return None
    return sum(parameter.numel() for parameter in module.parameters())
