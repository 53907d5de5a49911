"""Measure until enough is known: the one loop of `measure`, `sweep`, `assert_not_slower`, `fastest` and `explain`.

Calls of this process take short turns; a round of turns is the replicate. What "enough" means is a `Stop`: every ratio
is precise, a question is answered, or the fastest case is known. `wanted()` gives the calls that need another replicate
and how many replicates are expected, 0 if enough is known; `add(times, seconds)` learns the times of a replicate.

Where pulses can tell whether the core is quiet, they lie between the blocks of calls, and each turn waits for a quiet
one, as in a worker (`rnnbench.harness.machine.pulse`).
"""

import gc
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import pandas as pd

from rnnbench.analysis.card_turns import TURN_COLUMNS, card_notes
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.quiet_rounds import (
    RoundLogs,
    RoundTimes,
    are_quiet_together,
    estimate_of_rounds,
    of_one_kind,
    ratio_logs,
    seconds_logs,
    state_of,
)
from rnnbench.analysis.rounds import Question, growing, widening
from rnnbench.analysis.summary import SHARED
from rnnbench.harness.devices import Clocked, Device
from rnnbench.harness.live.quiet_core import round_times
from rnnbench.harness.machine.quiet_core import QuietCore
from rnnbench.harness.turns.planner import GroupRecord, estimate_spreads, visits_to_come
from rnnbench.harness.turns.schedule import (
    LEAST_BLOCKS,
    Progress,
    Turns,
    balanced_order,
    calibrate,
    clock_turn,
    plan_turns,
    warm_up,
)
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.processor import CannotRun, why_unable

CASE_SECONDS = 0.05  # of each call's turns in a replicate
LEAST_CASE_SECONDS = 1e-6  # two turns
ROOM = 0.8  # of the seconds that are left, which the least replicates may fill by the pace of those before
CALIBRATION_SECONDS = 0.01
FLUSHES = 3  # of the caches, to learn what one takes
STAGES = (4, 10, 20, 40)  # replicates, after each of which the slower cases are left out
GOOD_ENOUGH = 0.01  # cases that differ by no more than this are equally fast
SURE_OF_SLOWER = 0.99  # that a case is slower, before it is left out
SHARING = 0.3  # of a logarithm, by which a shared core may change the ratio of unlike calls: 2.1 over 1.6 times as long
CLEARLY = 0.2  # less of a logarithm of a time than the noise of one or two replicates is
TOOLS = 6  # places for tools in `sys.monitoring`, which Python has since 3.12


class Precision:
    """Enough is known when every ratio to the reference is as precise as asked: `measure`, `sweep`, `explain`."""

    def __init__(self, names: Sequence[str], reference: str, settings: Settings) -> None:
        self._names = list(names)
        self._reference = reference
        self._settings = settings
        self._record = GroupRecord()

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return all names, and the replicates that the spread seen so far calls for."""
        return self._names, visits_to_come(self._record, self._settings)

    def add(self, times: Mapping[str, RoundTimes], seconds: float) -> None:
        """Add a ratio for each call; the spread counts for more where replicates resemble their neighbours."""
        base = times[self._reference]
        others = {name: of_case for name, of_case in times.items() if of_case is not base}
        self._record.add(seconds, others, base)
        estimate_spreads([self._record])
        logs = (
            of_one_kind(self._record.log_ratios[name], self._record.undisturbed[name])
            for name in self._record.log_ratios
        )
        self._record.spread *= max((widening(each.values) for each in logs), default=1.0)

    def needed(self) -> float:
        """Return how many more seconds would be enough, at least."""
        return visits_to_come(self._record, self._settings) * self._record.cost


class Fastest:
    """Enough is known when no other case is faster than the best one by more than `GOOD_ENOUGH`: `fastest`.

    Of cases that are about equally fast, the first one counts as the fastest: the simplest comes first. Cases are
    compared by their quiet blocks if all that may be the fastest have enough of them in the same rounds, and otherwise
    by all blocks.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.times: dict[str, list[RoundTimes]] = {name: [] for name in names}
        self.candidates = list(names)  # those that may be the fastest

    @property
    def is_sure(self) -> bool:
        """Whether all others are slower, or not faster by more than `GOOD_ENOUGH`, with 95% confidence each."""
        best = self._best()
        others = [name for name in self.candidates if name != best]
        return all(self.log_ratio(best, name).upper <= math.log1p(GOOD_ENOUGH) for name in others)

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return the names of what may be the fastest, and the replicates of this stage."""
        replicates = len(self.times[self.candidates[0]])
        if replicates == STAGES[-1] or (replicates in STAGES and self.is_sure):
            return self.candidates, 0
        return self.candidates, next(stage for stage in STAGES if stage > replicates) - replicates

    def add(self, times: Mapping[str, RoundTimes], seconds: float) -> None:
        """Add a replicate, and leave out what is surely slower if it is the last of a stage."""
        for name, of_case in times.items():
            self.times[name].append(of_case)
        if len(self.times[self.candidates[0]]) in STAGES:
            self.leave_out_slower()

    def leave_out_slower(self) -> None:
        """Leave out what is surely slower than the best, on a shared core by more than sharing may change a ratio."""
        best = self._best()
        candidates = list(self.candidates)
        for name in candidates:
            logs = self._logs(name, best, candidates)
            is_shared = state_of(logs, self.times[name], self.times[best]) == SHARED
            least = math.log1p(GOOD_ENOUGH) + (SHARING if is_shared else 0.0)
            if estimate_of_rounds(logs, SURE_OF_SLOWER).lower > least:
                self.candidates.remove(name)

    def fastest(self) -> str:
        """Return the first case that is as fast as the best one, when the search has ended.

        It is the first of all unless another one is shown to be no slower: nobody wants to get something slower.
        """
        self.leave_out_slower()
        best = self._best()
        first = next(iter(self.times))
        chosen = next(name for name in self.candidates if self.log_ratio(name, best).value <= math.log1p(GOOD_ENOUGH))
        if first not in self.candidates or chosen == first:
            return chosen
        ratio = self.log_ratio(chosen, first)
        is_no_slower = ratio.value <= -CLEARLY or (ratio.has_interval and ratio.upper <= math.log1p(GOOD_ENOUGH))
        return chosen if is_no_slower else first

    def log_ratio(self, name: str, other: str, confidence: float = 0.95) -> Estimate:
        """Estimate the logarithm of the ratio of the times of two, in the replicates that both were in: the first."""
        return estimate_of_rounds(self._logs(name, other, self.candidates), confidence)

    def _logs(self, name: str, other: str, candidates: Sequence[str]) -> RoundLogs:
        of_case = self.times[name]
        its = self.times[other]
        is_undisturbed = are_quiet_together(of_case, its, *(self.times[each] for each in candidates))
        return ratio_logs(of_case, its, may_be_undisturbed=is_undisturbed)

    def told(self, name: str, other: str) -> "Told":
        """Compare a case with another one, by their quiet blocks if there are enough in both."""
        of_case = self.times[name]
        its = self.times[other]
        logs = ratio_logs(of_case, its)
        seconds = seconds_logs(of_case, is_undisturbed=logs.is_undisturbed).values
        return Told(math.exp(median(seconds)), estimate_of_rounds(logs), state_of(logs, of_case, its))

    def _best(self) -> str:
        return min(self.candidates, key=lambda name: self.log_ratio(name, self.candidates[0]).value)


@dataclass(frozen=True)
class Told:
    """What is known of a case of a search."""

    seconds: float  # per call
    log_ratio: Estimate  # of its time over that of another case
    state: str  # of the core: `undisturbed`, `on a shared core`, or empty


Stop = Precision | Question | Fastest


class LiveTurns:
    """Calls of this process that take turns, and their times: a list for each call, with a value for each replicate."""

    def __init__(
        self,
        device: Device,
        calls: Mapping[str, TimedCall],
        core: QuietCore | None = None,
        *,
        case_seconds: float = CASE_SECONDS,
        is_cold: bool = False,
        calls_afterwards: int = 0,
        before_round: Callable[[random.Random], object] = lambda rng: None,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """`core`: the pulses beside the calls; None where they tell nothing. `is_cold`: with caches emptied.

        `calls_afterwards`: calls of each case for which the deadline leaves time. `before_round` is called first in
        each replicate, and is not clocked.
        """
        self.times: dict[str, list[RoundTimes]] = {name: [] for name in calls}
        self.calls_made = 0  # clocked, of the call that was made least often
        self.seconds = 0.0  # that the replicates took, calibration included
        self.cut = False  # whether the deadline came before enough was known
        self.interrupted = False  # whether Ctrl-C did
        self.device = device
        self._card_turns: list[tuple[Any, ...]] = []  # of a GPU
        self._is_cold = is_cold
        self._calls = calls
        self._now = now
        self._core = core
        self._calls_afterwards = calls_afterwards
        self._before_round = before_round
        self._case_seconds = case_seconds
        self._least_blocks: float = LEAST_BLOCKS  # of a case in a replicate
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
        with nullcontext() if self._core is None else self._core.held():
            self._calibrate(deadline, on_progress)
            afterwards = self._calls_afterwards * sum(self._call_seconds.values())
            self._repeat(stop, deadline - afterwards, on_progress)
        self.seconds = self._now() - started

    def _calibrate(self, deadline: float, on_progress: Callable[[Progress], None]) -> None:
        """Find out how long each call takes, and make it warm."""
        self._choose_core()
        for number, name in enumerate(self._calls):
            on_progress(Progress(0, number, len(self._calls), None))
            with self.device.range(name), self._turn(name) as call:
                plan = calibrate(self.device, call, CALIBRATION_SECONDS)
                if plan.calls > 1 and self._now() < deadline:
                    warm_up(self.device, call, plan)
                self._call_seconds[name] = plan.seconds / plan.calls
                if self._is_cold:
                    self._call_seconds[name] = self.device.clock_cold(call, FLUSHES).host_seconds / FLUSHES

    def _repeat(self, stop: Stop, deadline: float, on_progress: Callable[[Progress], None]) -> None:
        """Add replicates until enough is known or the next one would pass the deadline."""
        wanted, to_come = stop.wanted()
        replicates = 0
        least = to_come
        plans, last = self._planned(wanted)
        pace = last / self._case_seconds  # seconds of a replicate for each second of turns
        paces = list[float]()
        try:
            while to_come and (not replicates or last <= deadline - self._now()):
                room = deadline - self._now() if not replicates else ROOM * (deadline - self._now())
                if self._shortened(pace * (least - replicates), room):
                    plans, _ = self._planned(wanted)
                    last = pace * self._case_seconds
                begun = self._now()
                times = self._replicate(plans, replicates, to_come, last, deadline, on_progress)
                if times is None:
                    break
                last = self._now() - begun
                # Turns that wait for a quiet core, or for any, take longer than was planned.
                paces.append(last / self._case_seconds)
                pace = median(paces)
                replicates += 1
                stop.add(times, last)
                wanted, to_come = stop.wanted()
                plans, _ = self._planned(wanted)
            self.cut = to_come > 0
        except KeyboardInterrupt:
            if not replicates:
                raise
            self.interrupted = True

    def _shortened(self, pace: float, seconds_left: float) -> bool:
        """Make the turns of a call shorter if the least replicates would not fit the seconds that are left.

        `pace`: seconds of these replicates for each second of turns. More replicates show the spread better than longer
        ones do.
        """
        if pace * self._case_seconds <= seconds_left:
            return False
        shorter = max(LEAST_CASE_SECONDS, seconds_left / pace)
        self._least_blocks *= shorter / self._case_seconds
        self._case_seconds = shorter
        return True

    def notes(self) -> list[str]:
        """Return sentences on a GPU, and one for each call whose times grow; all must have been in all replicates."""
        return card_notes(self.card_turns) + [
            f"Times of {name} grow from call to call: its last calls take {share:.0%} longer than its first, compared "
            "with the others. It may keep something from each call."
            for name, share in growing(self._turns).items()
        ]

    def _planned(self, wanted: Sequence[str]) -> tuple[dict[str, Turns], float]:
        """Return the turns of a replicate, and its expected seconds with an unclocked call in each turn."""
        seconds = {name: self._call_seconds[name] for name in wanted}
        plans = plan_turns(
            seconds,
            self._case_seconds,
            self.device.blocks,
            single_calls=self._is_cold,
            least_blocks=self._least_blocks,
        )
        calls = {name: plan.turns * (plan.blocks * plan.calls + (not plan.is_warm)) for name, plan in plans.items()}
        return plans, sum(calls[name] * seconds[name] for name in wanted)

    def _replicate(
        self,
        plans: Mapping[str, Turns],
        replicate: int,
        to_come: int,
        expected: float,
        deadline: float,
        on_progress: Callable[[Progress], None],
    ) -> Mapping[str, RoundTimes] | None:
        """Take one round of turns and keep its times; None if the deadline came between two turns."""
        wanted = list(plans)
        order = balanced_order(wanted, plans[wanted[0]].turns, self._rng)
        clocked: dict[str, list[Clocked]] = {name: [] for name in wanted}
        pulses = None if self._core is None else self._core.pulses
        for name in wanted:
            self._calls[name].restart()
        begun = self._now()
        self._before_round(self._rng)
        self._choose_core()
        for place, name in enumerate(order):
            now = self._now()
            if replicate and now >= deadline:
                return None
            done = replicate * len(order) + place
            every = (replicate + to_come) * len(order)
            seconds_left = min(to_come * expected - (now - begun), deadline - now)
            on_progress(Progress(replicate + 1, done, every, max(0.0, seconds_left)))
            plan = plans[name]
            is_same = place > 0 and order[place - 1] == name
            with self._turn(name) as call:
                taken = clock_turn(
                    self.device,
                    call,
                    replace(plan, is_warm=plan.is_warm or is_same),
                    wait=None if pulses is None else partial(pulses.wait, self._now),
                    pulse=None if pulses is None else pulses.take,
                    is_cold=self._is_cold,
                )
                self._look_at_card(name, taken)
            clocked[name].append(taken)
        times = {}
        for name, plan in plans.items():
            times[name] = round_times(plan, clocked[name], pulses)
            self.times[name].append(times[name])
            self._turns[name] += [median(turn.batch_seconds) / plan.calls for turn in clocked[name]]
            if not self._is_cold:  # then a flush counts, too
                fastest = min(min(turn.batch_seconds) for turn in clocked[name]) / plan.calls
                self._call_seconds[name] = min(self._call_seconds[name], fastest)
        self.calls_made += min(plan.turns * plan.blocks * plan.calls for plan in plans.values())
        return times

    @property
    def card_turns(self) -> pd.DataFrame:
        """The turns on a GPU, as `rnnbench.analysis.card_turns` takes them; none on a processor."""
        return pd.DataFrame(self._card_turns, columns=TURN_COLUMNS)

    def _look_at_card(self, name: str, taken: Clocked) -> None:
        """Keep what a turn that has ended just now shows of a GPU, whose clock slows down when it is idle."""
        if not self.device.runs_host_code:
            rate = (self.device.clock_hertz() or math.nan) / 1e6
            self._card_turns.append((name, taken.seconds, taken.host_seconds, taken.submit_seconds, rate))

    def _choose_core(self) -> None:
        """Make the next calls on the core that is quiet more often, if there is a choice."""
        if self._core is not None:
            with undisturbed():
                self._core.choose()

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
            unable.reason = reason
            raise unable from error
        is_said = isinstance(error, ValueError | RuntimeError)
        text = message_of(error) if is_said else error_in_words(error)
        raise (ValueError if isinstance(error, ValueError) else RuntimeError)(f"{call}: {text}{hint}") from error


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
