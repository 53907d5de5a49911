"""Modules that the user holds, timed in the user's own process: what `rnnbench.measure(...)` does."""

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
from rnnbench.harness.live.rounds import LiveRounds, Taken, named
from rnnbench.harness.machine import torch_state
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.records import Phase
from rnnbench.suite_file import Settings
from rnnbench.workloads.phases import TimedCall


@dataclass(frozen=True)
class Found:
    """What is known of the arms."""

    taken: Taken
    reference: str
    parity: dict[str, str]
    parameters: dict[str, int | None]  # None for a function, which does not tell
    device: str
    threads: int
    torch: str
    notes: tuple[str, ...]  # what makes the arms' work unequal


@dataclass(frozen=True)
class ComparedModules:
    """Arms whose outputs were compared, and the call of each that is timed."""

    arms: dict[str, Arm]
    calls: dict[str, TimedCall]
    reference: str
    parity: dict[str, str]
    device: str
    threads: int
    notes: tuple[str, ...]  # what makes the arms' work unequal
    put_back: ExitStack  # by which whatever else is changed is put back at the end


def measure(
    modules: Mapping[str, Callable[..., object]],
    inputs: object,
    phase: Phase,
    reference: str | None,
    settings: Settings,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Found:
    """Compare and time the modules; what was changed in this process on the way is put back, however it ends.

    Raises ValueError for what does not fit together, and what a module raises, with its name in front.
    """
    started = time.monotonic()
    with ready(modules, inputs, phase, reference) as found:
        return timed(found, settings, started, on_progress)


def timed(found: ComparedModules, settings: Settings, started: float, on_progress: Callable[[Progress], None]) -> Found:
    """Time what is ready; `started`: when, by `time.monotonic`, the budget began."""
    deadline = None if settings.budget_seconds is None else started + settings.budget_seconds
    device = devices.open_device(found.device)
    rounds = LiveRounds(device, found.calls, found.reference, settings, deadline=deadline, on_progress=on_progress)
    taken = rounds.run()
    counts = {name: _parameters(arm.run) for name, arm in found.arms.items()}
    return Found(
        taken, found.reference, found.parity, counts, found.device, found.threads, torch.__version__, found.notes
    )


@contextmanager
def ready(
    modules: Mapping[str, Callable[..., object]], inputs: object, phase: Phase, reference: str | None
) -> Iterator[ComparedModules]:
    """The modules' outputs compared and their calls made; at the end what was changed in this process is put back.

    Raises ValueError for what does not fit together, and what a module raises, with its name in front.
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
        found = outputs(arms)
        device = str(found[reference].device)
        compared = parity(found, reference)
        notes = tuple(filter(None, [uneven(found[reference].dtype, device, torch_state.capture())]))
        del found  # before the memory of the first calls is needed again
        calls = {}
        for name, arm in arms.items():
            with named(name):
                calls[name] = PHASES[phase](arm, put_back)
        yield ComparedModules(arms, calls, reference, compared, device, torch.get_num_threads(), notes, put_back)


def _parameters(module: Callable[..., object]) -> int | None:
    if not isinstance(module, nn.Module):
        return None
    return sum(parameter.numel() for parameter in module.parameters())
