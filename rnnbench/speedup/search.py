"""Find the fastest way to run a user's recurrent module at each shape: the work of `rnnbench.fastest(...)`."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.kinds import RunModule, reads_batch_first, run_module, why_only_as_given
from rnnbench.adapt.states import copied, on_trial, rebuilt
from rnnbench.analysis.estimate import Estimate, as_ratio, estimate
from rnnbench.analysis.replicate import Times, log_ratio
from rnnbench.cells.parity import TOLERANCES, ComparedTensors, allowed, errors
from rnnbench.cells.states import BATCHED, State, leaves
from rnnbench.harness import devices
from rnnbench.harness.live.arms import rounded_to, with_gradients
from rnnbench.harness.live.loop import LiveTurns
from rnnbench.harness.live.measuring import ready
from rnnbench.harness.live.put_back import calls_on_trial, keep_process, keep_tensors
from rnnbench.harness.turns.progress import Progress
from rnnbench.raised import ending
from rnnbench.speedup.module import CallShape, RunInWays, TimedWay
from rnnbench.speedup.ways import (
    ALONE,
    AS_GIVEN,
    COMPILED,
    INFERENCE_STEPS,
    TRAINING_STEPS,
    WayName,
    call,
    names,
    way,
)
from rnnbench.text import as_budget, error_in_words, plural, rounded_up
from rnnbench.workloads import compiled
from rnnbench.workloads.calls import operator_calls
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.referee import ParityError, check_tolerances

PHASES = ("inference", "training")
TF32 = "it agrees within TF32's precision, since torch's settings let this device round float32 to it"


@dataclass(frozen=True)
class RunSubject:
    """A module with one of its inputs, in a phase."""

    run: RunModule
    input: Tensor  # (seq, batch, ...)
    state: State  # as torch.nn's layers take it; None if the module makes its own
    phase: str
    is_given: bool  # whether calls are given the state

    def call(self, name: WayName, input: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the module in a way, over another input if one is given."""
        by = way(self.run.kind, name, self.run.is_batch_first)
        return by(self.run.module, self.input if input is None else input, self.state)


def find(
    module: nn.Module,
    input: Any,
    phase: str,
    shapes: Iterable[Sequence[int]] | None,
    budget_seconds: float,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    now: Callable[[], float] = time.monotonic,
) -> tuple[RunModule, list[TimedWay]]:
    """Measure the ways to run a module; see `rnnbench.fastest`. Raises TypeError and ValueError for other arguments."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch module, found {type(module).__name__}")
    if phase not in PHASES:
        raise ValueError(f"phase: expected one of {', '.join(PHASES)}, found {phase!r}")
    deadline = now() + budget_seconds
    run, first, state = recognised(module, input)
    inputs = [first, *_others(shapes, first, turns=run.is_batch_first)]
    timed: list[TimedWay] = []
    for number, given in enumerate(inputs):
        # Zeros at further shapes if a state is given for the first.
        begun = run.zeros(given) if number and state is not None else run.first_state(given, None if number else state)
        begun = begun if begun is None else rebuilt(begun, (part.detach() for part in leaves(begun)))
        # A copy is measured: a call may change more of a module than can be put back.
        subject = RunSubject(replace(run, module=on_trial(run.module)), given, begun, phase, state is not None)
        until = now() + max(0.0, deadline - now()) / (len(inputs) - number)

        def too_long(seconds: float, until: float = until) -> str:
            if seconds <= COMPILING_SHARE * (until - now()):
                return ""
            return (
                f"compiling it takes about {rounded_up(seconds)} on this machine now, which the budget does not hold; "
                f"give budget='{as_budget(budget_seconds + 2 * len(inputs) * seconds)}'"
            )

        timed += _of_shape(subject, until, too_long, on_progress, now)
    return run, timed


def recognised(module: nn.Module, input: Any) -> tuple[RunModule, Tensor, State]:
    """Return the module as ways run it, and the input (seq, batch, features) and the state of a call of the user's."""
    module = module._given if isinstance(module, RunInWays) else module
    given, state = input if isinstance(input, tuple) and len(input) == 2 else (input, None)
    if not isinstance(given, Tensor) or given.dim() < (BATCHED if given.is_floating_point() else BATCHED - 1):
        what = f"a tensor of shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(
            f"input: expected (seq, batch, features), whole numbers (seq, batch), or (input, state); found {what}"
        )
    if not given.numel():
        raise ValueError(f"input: expected sizes of 1 or more, found {tuple(given.shape)}")
    if reason := devices.why_not(str(given.device)):
        raise ValueError(f"input: {reason}")
    with calls_on_trial():
        trial, begun = given.detach().clone(), copied(state)
        turns = bool(reads_batch_first(module, trial, *(() if state is None else (begun,))))
        run = run_module(module, trial.transpose(0, 1) if turns else trial, begun)
    return replace(run, is_batch_first=turns), given.transpose(0, 1) if turns else given, state


def _others(shapes: Iterable[Sequence[int]] | None, like: Tensor, *, turns: bool) -> list[Tensor]:
    """Random inputs (seq, batch, features) of more shapes, which are given in the module's own layout."""
    made = []
    generator = torch.Generator(device=like.device).manual_seed(0)  # the user's own stays as it is
    for shape in shapes or ():
        sizes = list(shape)
        if not (2 <= len(sizes) <= BATCHED and all(isinstance(size, int) and size > 0 for size in sizes)):
            raise ValueError(f"shapes: expected (seq, batch) or (seq, batch, features), each 1 or more; found {sizes}")
        first, second, *features = sizes
        if features and features != list(like.shape[2:]):
            raise ValueError(f"shapes: the input has {like.shape[-1]} features, found {sizes}")
        steps, batch = (second, first) if turns else (first, second)
        sizes, device = [steps, batch, *like.shape[2:]], like.device
        if like.is_floating_point():
            made.append(torch.randn(sizes, dtype=like.dtype, device=device, generator=generator))
        else:  # numbers that the module takes
            made.append(like.flatten()[torch.randint(like.numel(), sizes, device=device, generator=generator)])
    return made


def _of_shape(
    subject: RunSubject,
    deadline: float,
    too_long: Callable[[float], str],
    on_progress: Callable[[Progress], None],
    now: Callable[[], float],
) -> list[TimedWay]:
    """Compare and time all ways at one shape, and restore everything that is changed in this process.

    Each way is timed in the module that is handed back for it, with all that this does around the way. `too_long` says
    that the budget does not hold so many seconds of compiling.
    """
    shape, run = CallShape.of(subject.input, subject.phase), subject.run
    input = subject.input.transpose(0, 1) if run.is_batch_first else subject.input
    reasons: dict[WayName, str] = {}
    calls: dict[str, Any] = {}
    with ExitStack() as put_back:
        keep_process(put_back)
        keep_tensors(run.module, put_back)  # of one that can't be copied
        every = names(run, subject.input, subject.state)
        of_all = why_only_as_given(run.module, run.kind) or varies(subject)
        for name in every:
            reason = of_all if name != AS_GIVEN else ""
            if not reason and name in COMPILED:
                idle, started = _idle_seconds(subject, name), now()
                seconds = idle * (PACES[-1] if PACES else 1.0)
                if not (reason := too_long(seconds)):
                    on_progress(Progress(0, 0, 1, seconds, stage=f"compiling ({name})"))
                    reason = why_not(subject, name)
                    PACES.append((now() - started) / idle)
            elif not reason and name != AS_GIVEN:
                reason = why_not(subject, name)
            if reason:
                reasons[name] = reason
                continue
            is_plain = name == AS_GIVEN and run.kind != "cell"
            handed_back = RunInWays(run, [TimedWay(shape, name, is_chosen=True)])
            state = subject.state if subject.is_given else None
            calls[name] = partial(call, run.given if is_plain else handed_back, input, state)
        if len(calls) == 1:
            return [TimedWay(shape, name, is_chosen=name in calls, reason=reasons.get(name, "")) for name in every]
        stop = Fastest(list(calls))
        with ready(calls, (), subject.phase, AS_GIVEN) as prepared:  # type: ignore[arg-type]
            turns = LiveTurns(devices.open_device(prepared.device), prepared.calls, now=now)
            turns.until(stop, deadline, on_progress)
            if turns.interrupted:
                raise KeyboardInterrupt
    stop.leave_out_slower()
    fastest = stop.fastest()
    is_coarse = rounded_to(subject.input.dtype, str(subject.input.device)) == "tf32"
    timed = []
    for name in every:
        if name in reasons:
            timed.append(TimedWay(shape, name, reason=reasons[name]))
            continue
        ratio, is_chosen = as_ratio(stop.log_ratio(name, AS_GIVEN)), name == fastest
        seconds = median(times.median for times in stop.times[name])
        reason = TF32 if is_coarse and is_chosen and name != AS_GIVEN else ""
        made, known = len(stop.times[name]), stop.is_sure or not is_chosen
        timed.append(
            TimedWay(shape, name, seconds, ratio.value, ratio.lower, ratio.upper, made, is_chosen, known, reason)
        )
    return timed


START_SECONDS, FIRST_SECONDS = 3.0, 10.0  # of a compilation on an idle machine, and more for the first of a process
OPERATOR_SECONDS = {"inference": 0.0035, "training": 0.007}  # more for each operator
TUNING = 4  # times as long is compiled where kernels are tried
COMPILING_SHARE = 0.75  # of what is left of the budget; the rest is for the clock
PACES: list[float] = []  # for each compilation of this process, how many times as long as on an idle machine it took


def _idle_seconds(subject: RunSubject, name: WayName) -> float:
    """Estimate how long a way is compiled on an idle machine, by the operators of the piece that is compiled."""
    steps = {"inference": INFERENCE_STEPS, "training": TRAINING_STEPS}[subject.phase]
    piece = subject.input if subject.run.kind == "sequence" else subject.input[:steps]
    eager: WayName = "hoisted" if subject.run.kind == "layer" else AS_GIVEN
    operators = operator_calls(TimedCall(lambda: subject.call(eager, piece), torch.no_grad))
    is_first = not compiled.why_not.cache_info().currsize
    seconds = START_SECONDS + FIRST_SECONDS * is_first + OPERATOR_SECONDS[subject.phase] * operators
    return seconds * (TUNING if name == "max-autotune" else 1)


class AsModule(nn.Module):
    """A subject in one way, as a module for the parity check."""

    def __init__(self, subject: RunSubject, name: WayName) -> None:
        super().__init__()
        self.module = subject.run.module
        self.subject, self.name = subject, name
        self.types: list[torch.dtype] = []  # of what the last call returned

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the module; without a state of its own, what is given for one is ignored."""
        has_state = self.subject.state is not None
        outputs, final = replace(self.subject, state=state if has_state else None).call(self.name, input)
        final = () if final is ALONE else final
        self.types = [outputs.dtype, *(part.dtype for part in (leaves(final) if has_state else ()))]
        return outputs, final


def varies(subject: RunSubject) -> str:
    """Why outputs can't be compared: two calls with the same input give different ones; empty if they are equal."""
    with torch.no_grad():
        first, second = (_outputs(subject.call(AS_GIVEN)).clone() for _ in range(2))
    if torch.equal(first, second):
        return ""
    return "two calls with the same input give different outputs: it draws random numbers or keeps a state"


def _outputs(result: tuple[Any, State]) -> Tensor:
    """The outputs of what a way returns; raises ValueError if they are no tensor of a batch of sequences."""
    outputs, final = result
    if isinstance(outputs, Tensor) and (final is ALONE or outputs.dim() >= BATCHED):
        return outputs
    found = f"a tensor of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ValueError(
        f"module: a call returns {found}; expected outputs, or (outputs, state) as torch.nn's layers return it, "
        "or a cell (`cell(input, state) -> state`)"
    )


def why_not(subject: RunSubject, name: Any) -> str:
    """Why a way can't be used: it fails, or does not compute what the module computes; empty if it can."""
    from torch._dynamo.utils import counters

    graphs = []
    try:
        if name in COMPILED:
            compiled.check(str(subject.input.device), name)
            counters.clear()
        _check_parity(subject, name)
        breaks = sum(counters["graph_break"].values())
        with torch.inference_mode() if subject.phase == "inference" else with_gradients():
            for _ in range(0 if breaks else 2):  # the first may have reason to be compiled again, after other calls
                subject.call(name)
                graphs.append(counters["stats"]["unique_graphs"])
        counters.clear()
    except (Skip, ParityError) as reason:
        return str(reason)
    except SystemExit as end:
        return ending(end, "the module")
    except Exception as error:
        return error_in_words(error)
    if graphs and graphs[1] > graphs[0]:
        return "it would be compiled again in each call: something that its code depends on changes, such as a counter"
    return f"torch.compile splits it into several graphs: {plural(breaks, 'graph break')}" if breaks else ""


def _check_parity(subject: RunSubject, name: WayName) -> None:
    """Compare outputs, final states and, in training, the gradients of all parameters; raises ParityError."""
    run = replace(subject.run, module=deepcopy(subject.run.module))
    reference = AsModule(replace(subject, run=run), AS_GIVEN)
    candidate = AsModule(subject, name)
    state = subject.input.new_zeros(0) if subject.state is None else subject.state
    gradients: Any = "parameters" if subject.phase == "training" else "none"
    compared = ComparedTensors(gradients, final_state=subject.state is not None)
    found = errors(candidate, reference, dict, subject.input, state, compared)
    if candidate.types != reference.types:
        mine, given = (", ".join(str(dtype)[6:] for dtype in side.types) for side in (candidate, reference))
        raise ParityError(f"it returns {mine}, but the given module returns {given}")
    kind = subject.input.device.type
    counted = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else reference.types[0]
    tolerance_of: Any = rounded_to(counted, str(subject.input.device))
    if tolerance_of not in TOLERANCES:
        raise ParityError(f"no tolerance is known for {tolerance_of}")
    steps, batch = subject.input.shape[:2]
    hidden = leaves(subject.state)[0].shape[-1] if subject.state is not None else 1
    sizes = {"steps": steps, "batch": batch, "hidden": hidden, "output": hidden}
    tolerances = {name: allowed(name, tolerance_of, **sizes) for name in found}
    check_tolerances(found, tolerances, tolerance_of, "the given module's")


STAGES = (4, 10, 20, 40)  # replicates, after each of which the slower ways are left out
GOOD_ENOUGH = 0.01  # ways that differ by no more than this are equally fast
CONFIDENCE = 0.99  # that a way is slower, before it is left out


class Fastest:
    """Enough is known when no other way is faster than the best one by more than `GOOD_ENOUGH`.

    Of ways that are about equally fast, the first one counts as the fastest: the simplest comes first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.times: dict[str, list[Times]] = {name: [] for name in names}
        self.left = list(names)  # those that may be the fastest

    @property
    def is_sure(self) -> bool:
        """Whether all others are slower, or not faster by more than `GOOD_ENOUGH`, with 95% confidence each."""
        best = self._best()
        others = [name for name in self.left if name != best]
        return all(self.log_ratio(best, name).upper <= math.log1p(GOOD_ENOUGH) for name in others)

    def wanted(self) -> Sequence[str]:
        """Return the ways that may be the fastest, or none."""
        made = len(self.times[self.left[0]])
        return () if made in STAGES and (made == STAGES[-1] or self.is_sure) else self.left

    def to_come(self) -> int:
        """Return the replicates of this stage."""
        made = len(self.times[self.left[0]])
        return next((stage for stage in STAGES if stage > made), made) - made

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add a replicate, and leave out the ways that are surely slower if it is the last of a stage."""
        for name, own in times.items():
            self.times[name].append(own)
        if len(self.times[self.left[0]]) in STAGES:
            self.leave_out_slower()

    def leave_out_slower(self) -> None:
        """Leave out what is surely slower than the best; also to be called when the budget has ended the search."""
        best = self._best()
        slower = {name: self.log_ratio(name, best, CONFIDENCE).lower for name in self.left}
        self.left = [name for name in self.left if not slower[name] > math.log1p(GOOD_ENOUGH)]

    def fastest(self) -> str:
        """Return the first way that is as fast as the best one."""
        best = self._best()
        return next(name for name in self.left if self.log_ratio(name, best).value <= math.log1p(GOOD_ENOUGH))

    def log_ratio(self, name: str, other: str, confidence: float = 0.95) -> Estimate:
        """Estimate the logarithm of the ratio of two ways' times, in the replicates that both were in: the first."""
        return estimate(list(map(log_ratio, self.times[name], self.times[other])), confidence)

    def _best(self) -> str:
        return min(self.left, key=lambda name: self.log_ratio(name, self.left[0]).value)
