"""Measure until enough is known: the one loop of `measure`, `sweep`, `assert_not_slower`, `fastest` and `explain`.

Calls of this process take short turns; a round of turns is the replicate. What "enough" means is a `Stop`: every ratio
is precise, a question is answered, or the fastest case is known. `wanted()` gives the calls that need another replicate
and how many replicates are expected, 0 if enough is known; `add(times, seconds)` learns the times of a replicate.
"""

import gc
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from rnnbench.analysis.estimate import Estimate, Times, estimate, log_ratio, pooled_times
from rnnbench.analysis.rounds import Question, growing, widening
from rnnbench.harness.devices import Clocked, Device
from rnnbench.harness.turns.planner import GroupRecord, estimate_spreads, visits_to_come
from rnnbench.harness.turns.schedule import Progress, Turns, balanced_order, calibrate, plan_turns, warm_up
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.processor import CannotRun, why_unable

CASE_SECONDS = 0.05  # of each call's turns in a replicate
CALIBRATION_SECONDS = 0.01


class Precision:
    """Enough is known when every ratio to the reference is as precise as asked: `measure`, `sweep`, `explain`."""

    def __init__(self, names: Sequence[str], reference: str, settings: Settings) -> None:
        self._names, self._reference, self._settings = list(names), reference, settings
        self._record = GroupRecord()

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return all names, and the replicates that the spread seen so far calls for."""
        return self._names, visits_to_come(self._record, self._settings)

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add a ratio for each call; the spread counts for more where replicates resemble their neighbours."""
        base = times[self._reference]
        self._record.add(seconds, {name: own for name, own in times.items() if own is not base}, base)
        estimate_spreads([self._record])
        self._record.spread *= max(map(widening, self._record.log_ratios.values()), default=1.0)

    def needed(self) -> float:
        """Return how many more seconds would be enough, at least."""
        return visits_to_come(self._record, self._settings) * self._record.cost


STAGES = (4, 10, 20, 40)  # replicates, after each of which the slower cases are left out
GOOD_ENOUGH = 0.01  # cases that differ by no more than this are equally fast
CONFIDENCE = 0.99  # that a case is slower, before it is left out
CLEARLY = 0.2  # less of a logarithm of a time than the noise of one or two replicates is


class Fastest:
    """Enough is known when no other case is faster than the best one by more than `GOOD_ENOUGH`: `fastest`.

    Of cases that are about equally fast, the first one counts as the fastest: the simplest comes first.
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

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return the names of what may be the fastest, and the replicates of this stage."""
        made = len(self.times[self.left[0]])
        if made == STAGES[-1] or (made in STAGES and self.is_sure):
            return self.left, 0
        return self.left, next(stage for stage in STAGES if stage > made) - made

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add a replicate, and leave out what is surely slower if it is the last of a stage."""
        for name, own in times.items():
            self.times[name].append(own)
        if len(self.times[self.left[0]]) in STAGES:
            self.leave_out_slower()

    def leave_out_slower(self) -> None:
        """Leave out what is surely slower than the best."""
        best = self._best()
        slower = {name: self.log_ratio(name, best, CONFIDENCE).lower for name in self.left}
        self.left = [name for name in self.left if not slower[name] > math.log1p(GOOD_ENOUGH)]

    def fastest(self) -> str:
        """Return the first case that is as fast as the best one, when the search has ended.

        It is the first of all unless another one is shown to be no slower: nobody wants to get something slower.
        """
        self.leave_out_slower()
        best, first = self._best(), next(iter(self.times))
        chosen = next(name for name in self.left if self.log_ratio(name, best).value <= math.log1p(GOOD_ENOUGH))
        if first not in self.left or chosen == first:
            return chosen
        ratio = self.log_ratio(chosen, first)
        is_no_slower = ratio.value <= -CLEARLY or (ratio.has_interval and ratio.upper <= math.log1p(GOOD_ENOUGH))
        return chosen if is_no_slower else first

    def log_ratio(self, name: str, other: str, confidence: float = 0.95) -> Estimate:
        """Estimate the logarithm of the ratio of the times of two, in the replicates that both were in: the first."""
        return estimate(list(map(log_ratio, self.times[name], self.times[other])), confidence)

    def _best(self) -> str:
        return min(self.left, key=lambda name: self.log_ratio(name, self.left[0]).value)


Stop = Precision | Question | Fastest


class LiveTurns:
    """Calls of this process that take turns, and their times: a list for each call, with a value for each replicate."""

    def __init__(
        self,
        device: Device,
        calls: Mapping[str, TimedCall],
        *,
        case_seconds: float = CASE_SECONDS,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.times: dict[str, list[Times]] = {name: [] for name in calls}
        self.calls_made = 0  # clocked, of the call that was made least often
        self.seconds = 0.0  # that the replicates took, calibration included
        self.cut = False  # whether the deadline came before enough was known
        self.interrupted = False  # whether Ctrl-C did
        self._device, self._calls, self._now = device, calls, now
        self._case_seconds = case_seconds
        self._rng = random.Random(seed)
        self._call_seconds: dict[str, float] = {}  # the least so far
        self._turns: dict[str, list[float]] = {name: [] for name in calls}  # seconds per call of each turn

    def until(
        self,
        stop: Stop,
        deadline: float = math.inf,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Calibrate, then add replicates until `stop` wants none or the next one would pass the deadline.

        One replicate is made in any case; a later one ends between two turns where the deadline comes, and does not
        count. An error of a call ends all, with the call's name in front. Ctrl-C ends the loop, too, and keeps the
        replicates that are finished; raises KeyboardInterrupt if none is.
        """
        started = self._now()
        for number, name in enumerate(self._calls):
            on_progress(Progress(0, number, len(self._calls), None))
            with self._turn(name) as call:
                plan = calibrate(self._device, call, CALIBRATION_SECONDS)
                if plan.calls > 1 and self._now() < deadline:
                    warm_up(self._device, call, plan)
            self._call_seconds[name] = plan.seconds / plan.calls
        (wanted, to_come), made = stop.wanted(), 0
        plans, last = self._planned(wanted)
        if (asked := last * to_come) > deadline - self._now():
            # More replicates show the spread better than longer ones.
            self._case_seconds *= max(0.0, deadline - self._now()) / asked
            plans, last = self._planned(wanted)
        try:
            while to_come and (not made or last <= deadline - self._now()):
                begun = self._now()
                times = self._replicate(plans, made, to_come, last, deadline, on_progress)
                if times is None:
                    break
                last, made = self._now() - begun, made + 1
                stop.add(times, last)
                wanted, to_come = stop.wanted()
                plans, _ = self._planned(wanted)
            self.cut = to_come > 0
        except KeyboardInterrupt:
            if not made:
                raise
            self.interrupted = True
        self.seconds = self._now() - started

    def notes(self) -> list[str]:
        """Return a sentence for each call whose times grow; all must have been in all replicates."""
        return [
            f"Times of {name} grow from call to call: its last calls take {share:.0%} longer than its first, compared "
            "with the others. It may keep something from each call."
            for name, share in growing(self._turns).items()
        ]

    def _planned(self, wanted: Sequence[str]) -> tuple[dict[str, Turns], float]:
        """Return the turns of a replicate, and its expected seconds with an unclocked call in each turn."""
        seconds = {name: self._call_seconds[name] for name in wanted}
        plans = plan_turns(seconds, self._case_seconds, self._device.blocks)
        calls = {name: plan.turns * (plan.blocks * plan.calls + (not plan.is_warm)) for name, plan in plans.items()}
        return plans, sum(calls[name] * seconds[name] for name in wanted)

    def _replicate(
        self,
        plans: Mapping[str, Turns],
        made: int,
        to_come: int,
        expected: float,
        deadline: float,
        on_progress: Callable[[Progress], None],
    ) -> Mapping[str, Times] | None:
        """Take one round of turns and keep its times; None if the deadline came between two turns."""
        wanted = list(plans)
        order = balanced_order(wanted, plans[wanted[0]].turns, self._rng)
        clocked: dict[str, list[Clocked]] = {name: [] for name in wanted}
        for name in wanted:
            self._calls[name].restart()
        begun = self._now()
        for place, name in enumerate(order):
            now = self._now()
            if made and now >= deadline:
                return None
            done, every = made * len(order) + place, (made + to_come) * len(order)
            left = min(to_come * expected - (now - begun), deadline - now)
            on_progress(Progress(made + 1, done, every, max(0.0, left)))
            plan, is_same = plans[name], place > 0 and order[place - 1] == name
            with self._turn(name) as call:
                taken = self._device.clock(call, plan.blocks, plan.calls, is_warm=plan.is_warm or is_same)
            clocked[name].append(taken)
        times = {}
        for name, plan in plans.items():
            blocks = sorted(seconds / plan.calls for turn in clocked[name] for seconds in turn.batch_seconds)
            calls = plan.turns * plan.blocks * plan.calls
            times[name] = pooled_times([blocks], [calls], [sum(turn.seconds for turn in clocked[name])])
            self.times[name].append(times[name])
            self._turns[name] += [median(turn.batch_seconds) / plan.calls for turn in clocked[name]]
            self._call_seconds[name] = min(self._call_seconds[name], blocks[0])
        self.calls_made += min(plan.turns * plan.blocks * plan.calls for plan in plans.values())
        return times

    @contextmanager
    def _turn(self, name: str) -> Iterator[Callable[[], object]]:
        """Enter the autograd mode of the call, without interruptions by Python; everything is restored at the end."""
        with named(name), undisturbed(), self._calls[name].mode():
            yield self._calls[name].call


@contextmanager
def named(call: str, hint: str = "") -> Iterator[None]:
    """Put the call's name in front of an error and a hint behind it: any but a ValueError becomes a RuntimeError.

    The error of a call that this processor can't make is a CannotRun, which knows the call's name.
    """
    try:
        yield
    except Exception as error:
        if reason := why_unable(error):
            unable = CannotRun(f"{call}: {reason}")
            unable.module = call
            raise unable from error
        is_said = isinstance(error, ValueError | RuntimeError)
        text = message_of(error) if is_said else error_in_words(error)
        raise (ValueError if isinstance(error, ValueError) else RuntimeError)(f"{call}: {text}{hint}") from error


TOOLS = 6  # places for tools in `sys.monitoring`, which Python has since 3.12


@contextmanager
def undisturbed() -> Iterator[None]:
    """Turn off garbage collection, tracing and profiling, and restore them at the end, whatever else fails."""
    profiler = sys.getprofile()
    monitoring: Any = getattr(sys, "monitoring", None)  # which newer versions of Python have
    with ExitStack() as put_back:
        if gc.isenabled():
            put_back.callback(gc.enable)
            gc.disable()
        put_back.callback(sys.settrace, sys.gettrace())
        sys.settrace(None)
        if callable(profiler):  # not cProfile's, which Python calls by `sys.monitoring` since 3.12
            put_back.callback(sys.setprofile, profiler)
            sys.setprofile(None)
        for tool in range(TOOLS if monitoring else 0):
            if monitoring.get_tool(tool) is not None and (events := monitoring.get_events(tool)):
                put_back.callback(monitoring.set_events, tool, events)
                monitoring.set_events(tool, 0)
        yield
