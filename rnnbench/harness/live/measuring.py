"""Compare modules of this process, make their calls, and time these in turns; everything is put back at the end."""

import inspect
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import nn

from rnnbench.adapt.contract import parameters_of
from rnnbench.cells.weights import copy_weights
from rnnbench.harness import devices
from rnnbench.harness.live.live_cases import (
    LiveCase,
    cases_of,
    check_modules,
    check_phase,
    keep_process,
    keep_tensors,
    movable_weights,
    move_weights,
    reference_of,
    timed_call,
    with_threads,
)
from rnnbench.harness.live.live_parity import compared_again, outputs, parity, uneven
from rnnbench.harness.live.loop import LiveTurns, named, quiet_core
from rnnbench.harness.live.orders import in_order, unknown_orders
from rnnbench.harness.live.stops import Precision, Stop
from rnnbench.harness.machine.variables import library_notes
from rnnbench.harness.turns.kept_results import FEWEST_CALLS
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.parity import Parity
from rnnbench.store.records import Caches, Phase
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.processor import CannotRun

CALLS_AFTERWARDS = 1 + FEWEST_CALLS  # of each case, when outputs are compared again

LivePhase = Literal["inference", "training", "step"]
Sizes = dict[str, Any]  # name -> value, `phase` and `threads` included


@dataclass
class LiveComparison:
    """Modules whose outputs were compared, and the turns of their calls."""

    cases: dict[str, LiveCase]
    calls: dict[str, TimedCall]
    turns: LiveTurns
    reference: str
    parity: dict[str, Parity]  # whether each output agrees with the reference's
    phase: Phase
    device: str
    threads: int
    notes: list[str]  # what makes the modules' work unequal, or all of it slower than elsewhere
    put_back: ExitStack  # restores everything else that is changed when it closes
    left_out: dict[str, str] = field(default_factory=dict)  # modules that this processor can't run, and why
    torch: str = torch.__version__
    needed: float = 0.0  # seconds for the replicates that the budget of `measure` left out

    @property
    def sizes(self) -> str:
        """The sizes and the type of the reference's input: `input (32, 8, 64) float32`; empty if it is no tensor."""
        input = self.cases[self.reference].input if self.reference in self.cases else None
        if not isinstance(input, torch.Tensor):
            return ""
        return f"input {tuple(input.shape)} {str(input.dtype).removeprefix('torch.')}"

    @property
    def parameters(self) -> dict[str, int | None]:
        """The number of parameters of each module; None for a function, whose parameters are unknown."""
        return {
            name: sum(weight.numel() for weight in case.parameters()) if isinstance(case.run, nn.Module) else None
            for name, case in self.cases.items()
        }

    def until(
        self, stop: Stop, deadline: float, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> None:
        """Time the calls until `stop` wants no more, as `LiveTurns` does, and compare outputs again."""
        self.turns.until(stop, deadline, on_progress)
        self.parity, more = compared_again(self.cases, self.calls, self.reference, self.parity, self.turns.device)
        self.notes += [*self.turns.notes(), *more]

    def measure(
        self, settings: Settings, started: float, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> None:
        """Time the calls until each ratio is precise; the budget starts at `started`, by `time.monotonic`."""
        budget = math.inf if settings.budget_seconds is None else settings.budget_seconds
        stop = Precision(list(self.calls), self.reference, settings)
        self.until(stop, started + budget, on_progress)
        self.needed = stop.needed() if self.turns.cut else 0.0


@contextmanager
def compared(
    modules: Mapping[str, Callable[..., object]],
    input: object,
    phase: Phase,
    reference: str | None,
    threads: int | None = None,
    *,
    caches: Caches = "warm",
) -> Iterator[LiveComparison]:
    """Compare the modules' outputs and make their calls; at the end, restore everything changed in this process.

    Modules that this processor can't run are left out. `threads`: of torch; None leaves them as they are. `caches`: of
    the device, `cold` if they are emptied before each call. Raises
    CannotRun if it can't run the reference or none of the others, ValueError if the arguments do not fit together, and
    any error of a module, with the module's name in front.
    """
    left_out: dict[str, str] = {}
    with ExitStack() as entered:
        while True:
            try:
                comparison = entered.enter_context(_all_compared(modules, input, phase, reference, threads, caches))
                break
            except CannotRun as unable:
                name = unable.module
                if name == reference_of(modules, reference) or len(modules) == 2:
                    raise
                left_out[name] = unable.reason or str(unable)
                modules = {other: module for other, module in modules.items() if other != name}
                if isinstance(input, Mapping):
                    input = {other: argument for other, argument in input.items() if other != name}
        comparison.left_out |= left_out
        comparison.notes += [f"{name} is left out: {reason}." for name, reason in left_out.items()]
        yield comparison


@contextmanager
def _all_compared(
    modules: Mapping[str, Callable[..., object]],
    input: object,
    phase: Phase,
    reference: str | None,
    threads: int | None,
    caches: Caches,
) -> Iterator[LiveComparison]:
    """Compare all modules; raises CannotRun if this processor can't run one of them. See `compared`."""
    check_phase(phase, get_args(LivePhase))
    if caches not in get_args(Caches):
        raise ValueError(f"caches: expected 'warm' or 'cold', found {caches!r}")
    cases = cases_of(modules, input)
    reference = reference_of(modules, reference)
    with ExitStack() as put_back:
        put_back.enter_context(with_threads(threads))
        keep_process(put_back)
        for module in modules.values():
            keep_tensors(module, put_back)
        cases = in_order(cases, reference)
        first = outputs(cases, reference)
        dtype = first[reference].dtype
        name = str(first[reference].device)
        agree = parity(first, reference)
        del first  # frees the memory of the first calls before it is needed again
        device = devices.open_device(name)
        calls = {}
        of_shell = library_notes(in_float32=dtype == torch.float32 and device.runs_host_code)
        notes = [*filter(None, [uneven(dtype, name)]), *(f"{note[0].upper()}{note[1:]}." for note in of_shell)]
        notes += unknown_orders(cases, reference, agree)
        for case in cases.values():
            with named(case.name):
                calls[case.name] = timed_call(case, phase, put_back)
        threads = torch.get_num_threads()
        if not device.runs_host_code and hasattr(os, "sched_setaffinity"):
            put_back.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            os.sched_setaffinity(0, device.core_choices(name, threads)[0])
        is_cold = caches == "cold"
        core = None if is_cold else quiet_core(name, threads)  # a flush would come between a call and its pulses
        turns = LiveTurns(
            device,
            calls,
            core,
            is_cold=is_cold,
            calls_afterwards=CALLS_AFTERWARDS,
            before_round=partial(
                move_weights, movable_weights(modules.values(), put_back) if device.runs_host_code else []
            ),
        )
        notes += ["The caches were emptied before each call."] if is_cold else []
        yield LiveComparison(cases, calls, turns, reference, agree, phase, name, threads, notes, put_back)


@dataclass(frozen=True)
class Unmeasured:
    """Why a point of a sweep has no numbers: its modules have failed, or this processor can't run them."""

    status: Literal["failed", "skipped"]
    reason: str


def sweep(
    modules: Mapping[str, Any],
    input: Callable[..., object],
    axes: Mapping[str, Sequence[Any]],
    reference: str | None,
    settings: Settings,
    shown_of: Callable[[int, int], Callable[[Progress], None]],
) -> Iterator[tuple[Sizes, LiveComparison | Unmeasured]]:
    """Measure the modules at each combination of `axes`, of which `phase` and `threads` are two.

    `modules`: modules and functions, or what builds them: a class or function whose parameters are all sizes. `input`:
    what makes the input from the sizes that it names. `shown_of(number, points)` shows a point's replicates. The budget
    of `settings` is for all points. A point that fails or can't be run has the reason; Ctrl-C ends the sweep after the
    finished replicates of a point. Raises ValueError or TypeError if the arguments do not fit together.
    """
    names = _checked(modules, input, axes)
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    deadline = None if settings.budget_seconds is None else time.monotonic() + settings.budget_seconds
    for number, sizes in enumerate(points):
        started = time.monotonic()
        seconds_left = None if deadline is None else max(0.001, (deadline - started) / (len(points) - number))
        of_point = settings.model_copy(update={"budget_seconds": seconds_left})
        try:
            built = _built(modules, names, sizes, reference)
            arguments = input(**{name: sizes[name] for name in _needed(input) & sizes.keys()})
            with compared(built, arguments, sizes["phase"], reference, sizes["threads"]) as comparison:
                comparison.measure(of_point, started, shown_of(number, len(points)))
        except KeyboardInterrupt:
            if not number:
                raise
            return
        except CannotRun as unable:
            yield sizes, Unmeasured("skipped", str(unable))
            continue
        except Exception as error:  # whatever a stranger's module raises
            yield sizes, Unmeasured("failed", error_in_words(error))  # the other points are measured
            continue
        yield sizes, comparison
        if comparison.turns.interrupted:
            return


def _checked(
    modules: Mapping[str, Any], input: Callable[..., object], axes: Mapping[str, Sequence[Any]]
) -> dict[str, set[str]]:
    """Return the sizes that each builder of a module needs; raises ValueError or TypeError for other arguments."""
    check_modules(modules)
    if not callable(input):
        raise TypeError(
            f"input: expected a function that makes it from the sizes, such as lambda batch_size, seq_len: ...; "
            f"found {type(input).__name__}"
        )
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sized) or not len(values):
            raise TypeError(f"{name}: expected a list of values, at least one, found {values!r}")
    sizes = set(axes) - {"phase", "threads"}
    functions = {name: _needed(each) for name, each in modules.items() if callable(each)}
    built = {name: needed for name, needed in functions.items() if needed and needed <= sizes}
    if idle := sorted(sizes.difference(_needed(input), *built.values())):
        raise ValueError(f"{idle[0]}: neither the input nor a module depends on it")
    return built


def _built(
    modules: Mapping[str, Any], names: Mapping[str, set[str]], sizes: Sizes, reference: str | None
) -> dict[str, Any]:
    """Return the modules at these sizes; those that are built get the weights of the reference, if they fit."""
    built = {name: modules[name](**{size: sizes[size] for size in needed}) for name, needed in names.items()}
    modules_by_name = {**modules, **built}
    like = modules_by_name[reference_of(modules_by_name, reference)]
    for module in built.values():
        if module is not like and isinstance(like, nn.Module):
            with suppress(ValueError):  # other parameters: then its parity says that outputs differ
                copy_weights(module, like)
    return modules_by_name


def _needed(function: Callable[..., object]) -> set[str]:
    """Return the parameters of a function without a default; none of a module, or if they can't be read."""
    parameters = () if isinstance(function, nn.Module) else parameters_of(function).values()
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return {each.name for each in named if each.default is inspect.Parameter.empty}
