"""Compare modules of this process, make their calls, and time these in turns; everything is put back at the end."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from rnnbench.analysis.replicate import Times
from rnnbench.harness import devices
from rnnbench.harness.live.arms import PHASES, Arm, arms_of, in_order, reference_of, timed_call
from rnnbench.harness.live.loop import LiveTurns, Precision, named
from rnnbench.harness.live.outputs import compared_again, outputs, parity, uneven, with_causes
from rnnbench.harness.live.put_back import keep_process, keep_tensors
from rnnbench.harness.machine import global_state, variables
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.records import Phase
from rnnbench.suite.file import Settings
from rnnbench.workloads.phases import TimedCall

MEASURING = threading.Lock()  # held while modules of this process are timed


@dataclass(frozen=True)
class MeasuredModules:
    """The times of all arms, and what is known about their work."""

    times: dict[str, list[Times]]  # one for each replicate
    cut: bool  # the budget ended the replicates although more were needed
    interrupted: bool  # Ctrl-C ended them
    needed: TimeNeeded | None  # for the replicates that the budget left out
    reference: str
    parity: dict[str, str]
    parameters: dict[str, int | None]  # number of parameters; None for a function, whose parameters are unknown
    device: str
    threads: int
    torch: str
    notes: tuple[str, ...]  # what makes the arms' work unequal, or all of it slower than elsewhere


@dataclass(frozen=True)
class ComparedModules:
    """Arms whose outputs were compared, with the call of each arm that is timed."""

    arms: dict[str, Arm]
    calls: dict[str, TimedCall]
    reference: str
    parity: dict[str, str]
    device: str
    threads: int
    notes: tuple[str, ...]
    put_back: ExitStack  # restores everything else that is changed when it closes


def measure(
    modules: Mapping[str, Callable[..., object]],
    input: object,
    phase: Phase,
    reference: str | None,
    settings: Settings,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_overrun: Callable[[float], None] = lambda seconds: None,
) -> MeasuredModules:
    """Compare and time the modules, and restore everything changed in this process, even after an error.

    Raises ValueError if the arguments do not fit together, RuntimeError if this process is already measuring, and any
    error of a module, with the module's name in front.
    """
    started = time.monotonic()
    with ready(modules, input, phase, reference, threads) as prepared:
        return timed(prepared, settings, started, on_progress, on_overrun)


def timed(
    prepared: ComparedModules,
    settings: Settings,
    started: float,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_overrun: Callable[[float], None] = lambda seconds: None,
) -> MeasuredModules:
    """Time the prepared modules; `started` is the start of the budget, by `time.monotonic`."""
    deadline = math.inf if settings.budget_seconds is None else started + settings.budget_seconds
    turns = LiveTurns(devices.open_device(prepared.device), prepared.calls)
    stop = Precision(list(prepared.calls), prepared.reference, settings)
    ended = turns.until(stop, deadline, on_progress, on_overrun)
    compared, note = compared_again(prepared.arms, prepared.calls, prepared.reference, prepared.parity)
    return MeasuredModules(
        turns.times,
        ended.cut,
        ended.interrupted,
        stop.needed() if ended.cut else None,
        prepared.reference,
        compared,
        {
            name: sum(weight.numel() for weight in arm.parameters()) if isinstance(arm.run, nn.Module) else None
            for name, arm in prepared.arms.items()
        },
        prepared.device,
        prepared.threads,
        torch.__version__,
        (*prepared.notes, *turns.notes(), *([note] if note else [])),
    )


@contextmanager
def ready(
    modules: Mapping[str, Callable[..., object]],
    input: object,
    phase: Phase,
    reference: str | None,
    threads: int | None = None,
) -> Iterator[ComparedModules]:
    """Compare the modules' outputs and make their calls; at the end, restore everything changed in this process.

    `threads`: of torch; None leaves them as they are. Raises ValueError if the arguments do not fit together,
    RuntimeError if this process is already measuring, and any error of a module, with the module's name in front.
    """
    if phase not in PHASES:
        raise ValueError(f"phase: expected one of {', '.join(PHASES)}, found {phase!r}")
    arms = arms_of(modules, input)
    reference = reference_of(arms, reference)
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads: expected a whole number of 1 or more, or None for torch's own; found {threads!r}")
    if not MEASURING.acquire(blocking=False):
        raise RuntimeError(
            "this process is already measuring, in another thread: two measurements at once would disturb each other; "
            "wait until the other one has ended"
        )
    with ExitStack() as put_back:
        put_back.callback(MEASURING.release)
        keep_process(put_back)
        if threads is not None:
            torch.set_num_threads(threads)
        for arm in arms.values():
            if isinstance(arm.run, nn.Module):
                keep_tensors(arm.run, put_back)
        arms = in_order(arms, reference)
        by_arm = outputs(arms)
        dtype, device = by_arm[reference].dtype, str(by_arm[reference].device)
        compared = with_causes(parity(by_arm, reference), arms, by_arm, reference)
        del by_arm  # frees the memory of the first calls before it is needed again
        notes = [uneven(dtype, device, global_state.capture())]
        if dtype == torch.float32 and devices.open_device(device).runs_host_code:
            notes.append(variables.imprecise_float32())
        notes += [f"{note[0].upper()}{note[1:]}." for note in variables.library_notes()]
        calls = {}
        for name, arm in arms.items():
            with named(name):
                calls[name] = timed_call(arm, phase, put_back)
        threads, told = torch.get_num_threads(), tuple(filter(None, notes))
        yield ComparedModules(arms, calls, reference, compared, device, threads, told, put_back)
