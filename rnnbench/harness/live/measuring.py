"""Compare modules of this process, make their calls, and time these in turns; everything is put back at the end."""

import inspect
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from rnnbench.adapt.contract import parameters_of
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.replicate import Times, log_ratio
from rnnbench.analysis.rounds import Answer, Question
from rnnbench.cells.weights import copy_weights
from rnnbench.harness import devices
from rnnbench.harness.live.arms import (
    PHASES,
    Arm,
    arms_of,
    compared_again,
    in_order,
    outputs,
    parity,
    reference_of,
    timed_call,
    uneven,
)
from rnnbench.harness.live.loop import LiveTurns, Precision, named
from rnnbench.harness.live.put_back import keep_process, keep_tensors
from rnnbench.harness.machine import global_state, variables
from rnnbench.harness.turns.progress import Progress, TimeNeeded
from rnnbench.store.records import Phase
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words
from rnnbench.workloads.phases import TimedCall


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
) -> MeasuredModules:
    """Compare and time the modules, and restore everything changed in this process, even after an error.

    Raises ValueError if the arguments do not fit together, and any error of a module, with the module's name in front.
    """
    started = time.monotonic()
    with ready(modules, input, phase, reference, threads) as prepared:
        return timed(prepared, settings, started, on_progress)


def timed(
    prepared: ComparedModules,
    settings: Settings,
    started: float,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> MeasuredModules:
    """Time the prepared modules; `started` is the start of the budget, by `time.monotonic`."""
    budget = math.inf if settings.budget_seconds is None else settings.budget_seconds

    def warn(seconds: float) -> None:
        warnings.warn(
            f"one round takes about {seconds:.2g} s, longer than the budget of {budget:.2g} s; this round is measured "
            "anyway, and gives no interval",
            stacklevel=2,
        )

    turns = LiveTurns(devices.open_device(prepared.device), prepared.calls)
    stop = Precision(list(prepared.calls), prepared.reference, settings)
    turns.until(stop, started + budget, on_progress, warn)
    compared, more = compared_again(prepared.arms, prepared.reference, prepared.parity)
    return MeasuredModules(
        turns.times,
        turns.cut,
        turns.interrupted,
        stop.needed() if turns.cut else None,
        prepared.reference,
        compared,
        {
            name: sum(weight.numel() for weight in arm.parameters()) if isinstance(arm.run, nn.Module) else None
            for name, arm in prepared.arms.items()
        },
        prepared.device,
        prepared.threads,
        torch.__version__,
        (*prepared.notes, *turns.notes(), *more),
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
    and any error of a module, with the module's name in front.
    """
    if phase not in PHASES:
        raise ValueError(f"phase: expected one of {', '.join(PHASES)}, found {phase!r}")
    arms = arms_of(modules, input)
    reference = reference_of(arms, reference)
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads: expected a whole number of 1 or more, or None for torch's own; found {threads!r}")
    with ExitStack() as put_back:
        keep_process(put_back)
        if threads is not None:
            torch.set_num_threads(threads)
        for arm in arms.values():
            if isinstance(arm.run, nn.Module):
                keep_tensors(arm.run, put_back)
        arms = in_order(arms, reference)
        by_arm = outputs(arms)
        dtype, device = by_arm[reference].dtype, str(by_arm[reference].device)
        compared = parity(by_arm, reference)
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


Sizes = dict[str, Any]  # name -> value, `phase` and `threads` included
FIXED = ("phase", "threads")


@dataclass(frozen=True)
class SweptPoint:
    """The result at one combination of sizes."""

    sizes: Sizes
    found: MeasuredModules | None  # None if it failed
    reason: str = ""  # why it failed


def sweep(
    modules: Mapping[str, Any],
    input: Callable[..., object],
    axes: Mapping[str, Sequence[Any]],
    reference: str | None,
    settings: Settings,
    shown_of: Callable[[int, int], Callable[[Progress], None]],
) -> Iterator[SweptPoint]:
    """Measure the modules at each combination of `axes`, of which `phase` and `threads` are two.

    `modules`: modules and functions, or what builds them: a class or function whose parameters are all sizes. A module
    that is built gets the weights of the reference, if its parameters fit. `input`: what makes the input from the
    sizes that it names. `shown_of(number, points)` shows a point's replicates. The budget of `settings` is for all
    points. A point that fails has the reason; Ctrl-C ends the sweep after the finished replicates of a point. Raises
    ValueError or TypeError if the arguments do not fit together.
    """
    _check(modules, input, axes)
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    budget = settings.budget_seconds
    deadline = None if budget is None else time.monotonic() + budget
    for number, sizes in enumerate(points):
        left = None if deadline is None else max(0.001, (deadline - time.monotonic()) / (len(points) - number))
        own = settings.model_copy(update={"budget_seconds": left})
        try:
            made = _all_built(modules, sizes, reference)
            given, show = _called(input, sizes), shown_of(number, len(points))
            found = measure(made, given, sizes["phase"], reference, own, sizes["threads"], show)
        except KeyboardInterrupt:
            if not number:
                raise
            return
        except Exception as error:  # whatever a stranger's module raises
            yield SweptPoint(sizes, None, error_in_words(error))  # the other points are measured
            continue
        yield SweptPoint(sizes, found)
        if found.interrupted:
            return


def _all_built(modules: Mapping[str, Any], sizes: Mapping[str, Any], reference: str | None) -> dict[str, Any]:
    """The modules at these sizes; those that are built get the weights of the reference, if their parameters fit."""
    made = {name: _called(each, sizes) if _builds(each, sizes) else each for name, each in modules.items()}
    like = made[reference_of(arms_of(made, ()), reference)]
    for name, module in made.items():
        if module is not modules[name] and module is not like and isinstance(like, nn.Module):
            with suppress(ValueError):  # other parameters: then its parity says that outputs differ
                copy_weights(module, like)
    return made


def _builds(module: Any, sizes: Mapping[str, Any]) -> bool:
    """Whether this builds a module: a class or function, all of whose parameters are sizes."""
    if isinstance(module, nn.Module) or not callable(module):
        return False
    names = _names(module)
    return bool(names) and names <= set(sizes) - set(FIXED)


def _called(function: Callable[..., Any], sizes: Mapping[str, Any]) -> Any:
    names = _names(function)
    return function(**{name: value for name, value in sizes.items() if name in names})


def _names(function: Callable[..., object]) -> set[str]:
    """The parameters of a function without a default; empty if they can't be read, as of some built-in ones."""
    parameters = parameters_of(function).values()
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return {each.name for each in named if each.default is inspect.Parameter.empty}


def _check(modules: Mapping[str, Any], input: Callable[..., object], axes: Mapping[str, Sequence[Any]]) -> None:
    if not callable(input):
        raise TypeError(
            f"input: expected a function that makes it from the sizes, such as lambda batch_size, seq_len: ...; "
            f"found {type(input).__name__}"
        )
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
            raise TypeError(f"{name}: expected a list of values, at least one, found {values!r}")
    used = _names(input) | {name for module in modules.values() if _builds(module, axes) for name in _names(module)}
    if idle := sorted(set(axes) - set(FIXED) - used):
        raise ValueError(f"{idle[0]}: neither the input nor a module depends on it")


MINE, THAN = "mine", "than"  # the arms' names in inputs and in messages


@dataclass(frozen=True)
class NotSlowerResult:
    """The answer to the question, with the measurements behind it."""

    answer: Answer | None  # None: neither answer could be shown, or nothing was timed
    factor: float
    ratio: Estimate  # time of `mine` over time of `than`, for the typical call
    mean_ratio: Estimate  # the same ratio for the mean of all calls
    seconds: dict[str, float]  # a call of `mine` and of `than`: the median of the rounds' medians
    rounds: int
    calls: int  # clocked, of each of the two at least
    took_seconds: float  # spent of `budget_seconds`
    budget_seconds: float
    by_the_mean: bool  # whether the answer, or its absence, is due to the mean
    precise_enough: bool  # the rounds ended without an answer, because the ratios reached the requested precision
    parity: str  # whether the output of `mine` agrees with that of `than`
    phase: Phase
    device: str
    threads: int
    notes: tuple[str, ...]
    must_agree: bool = True  # whether unequal outputs are a failure
    text: str = ""  # in words

    def __str__(self) -> str:
        return self.text

    @property
    def agrees(self) -> bool:
        """Whether the outputs are equal, before and after timing."""
        return self.parity.startswith("agrees")

    @property
    def is_unequal(self) -> bool:
        """Whether the outputs differ and must not, so that the times mean nothing."""
        return self.must_agree and not self.agrees


class Factor:
    """Enough is known when one of the answers is shown, or both ratios are known within `precision`."""

    def __init__(self, factor: float, precision: float | None = None) -> None:
        self.question, self._precision = Question(factor), precision
        self._ratios: list[tuple[float, float]] = []  # of each replicate, typical and of the means, as logarithms
        self._looked = 0

    @property
    def is_precise(self) -> bool:
        """Whether more replicates would tell little, though there is no answer."""
        return self.question.answer is None and self.question.is_within(self._precision)

    def wanted(self) -> Sequence[str]:
        """Return both names, or none."""
        return () if self.question.answer is not None or self.is_precise else (MINE, THAN)

    def to_come(self) -> int:
        """Return the replicates until the next look."""
        return self.question.next_look - len(self._ratios)

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add the two ratios of a replicate, and look at all of them if it is time."""
        mine, than = times[MINE], times[THAN]
        self._ratios.append((log_ratio(mine, than), math.log(mine.mean / than.mean)))
        if len(self._ratios) == self.question.next_look:
            self.look()

    def look(self) -> None:
        """Look at all replicates, if there are new ones; also to be called when the budget has ended them."""
        if len(self._ratios) > self._looked:
            self._looked = len(self._ratios)
            self.question.look(*zip(*self._ratios, strict=True))


def not_slower(
    mine: Callable[..., object],
    than: Callable[..., object],
    input: object = (),
    phase: Phase = "inference",
    *,
    factor: float,
    budget_seconds: float,
    precision: float | None = None,
    threads: int | None = None,
    equal_outputs: bool = True,
) -> NotSlowerResult:
    """Take replicates until it is known whether `mine` is slower than `factor` times `than`.

    `input`: a tensor, a tuple of arguments, or a mapping with the keys `mine` and `than`. The budget covers calibration
    and the replicates; one is taken in any case. With `precision` (0.01: 1%), they also end without an answer
    once the ratio is known with this precision. `threads`: of torch; None leaves them as they are. If `equal_outputs`
    is set and the outputs differ, nothing is timed. Raises ValueError if the arguments do not fit together, and any
    error of a module, with the module's name in front.
    """
    with ready({MINE: mine, THAN: than}, input, phase, THAN, threads) as prepared:
        stop, parity = Factor(factor, precision), prepared.parity[MINE]
        turns = LiveTurns(devices.open_device(prepared.device), prepared.calls)
        notes = prepared.notes
        if parity.startswith("agrees") or not equal_outputs:
            turns.until(stop, time.monotonic() + budget_seconds)
            if turns.interrupted:
                raise KeyboardInterrupt
            stop.look()
            compared, more = compared_again(prepared.arms, THAN, prepared.parity)
            parity, notes = compared[MINE], (*notes, *turns.notes(), *more)
    question = stop.question
    return NotSlowerResult(
        answer=question.answer,
        factor=factor,
        ratio=question.low,
        mean_ratio=question.mean,
        seconds={name: median([each.median for each in of] or [math.nan]) for name, of in turns.times.items()},
        rounds=len(turns.times[MINE]),
        calls=turns.calls_made,
        took_seconds=turns.seconds,
        budget_seconds=budget_seconds,
        by_the_mean=question.by_the_mean,
        precise_enough=stop.is_precise,
        parity=parity,
        phase=phase,
        device=prepared.device,
        threads=prepared.threads,
        notes=notes,
        must_agree=equal_outputs,
    )
