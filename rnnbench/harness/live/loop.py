"""Measure until enough is known: the one loop of `measure`, `sweep`, `assert_not_slower`, `fastest` and `explain`.

Calls of this process take short turns; a round of turns is the replicate. What "enough" means is a `Stop`
(`rnnbench.harness.live.stops`).

Where pulses can tell whether the core is quiet, they lie between the blocks of calls, and each turn waits for a quiet
one, as in a worker (`rnnbench.harness.machine.pulse`).
"""

import gc
import math
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from statistics import fmean, median
from typing import Any

import pandas as pd

from rnnbench.analysis.quiet import QuietBlocks, low_parts
from rnnbench.analysis.quiet_rounds import RoundTimes
from rnnbench.analysis.replicate_times import pooled_times
from rnnbench.analysis.rounds import growing
from rnnbench.analysis.summary import TURN_COLUMNS, card_notes
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked, Device
from rnnbench.harness.live.stops import Stop
from rnnbench.harness.machine.cores import measuring_choices
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import MAX_CHOICES, KeptPulse, QuietCore
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
from rnnbench.store.user_cache import private_folder
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.processor import CannotRun, why_unable

CASE_SECONDS = 0.05  # of each call's turns in a replicate
LEAST_CASE_SECONDS = 1e-6  # two turns
ROOM = 0.8  # of the seconds that are left, which the least replicates may fill by the pace of those before
CALIBRATION_SECONDS = 0.01
FLUSHES = 3  # of the caches, to learn what one takes
TOOLS = 6  # places for tools in `sys.monitoring`, which Python has since 3.12


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
        """The turns on a GPU, as `rnnbench.analysis.summary.card_notes` takes them; none on a processor."""
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


def quiet_core(device: str, threads: int) -> QuietCore | None:
    """Return the pulses beside calls on a device by so many threads of torch; None where they tell nothing."""
    if not devices.pulses_tell(device, threads):
        return None
    kept_pulse = KeptPulse(private_folder(), platform.python_version())
    best = kept_pulse.best_seconds()
    return QuietCore(Pulses(math.inf if best is None else best), measuring_choices(1)[:MAX_CHOICES], kept_pulse)


def round_times(plan: Turns, turns: Sequence[Clocked], pulses: Pulses | None) -> RoundTimes:
    """Return the times of a call from its turns in a round."""
    blocks = sorted(seconds / plan.calls for turn in turns for seconds in turn.batch_seconds)
    times = pooled_times([blocks], [len(blocks) * plan.calls], [sum(turn.seconds for turn in turns)])
    taken = [seconds for turn in turns for seconds in turn.pulses]
    if pulses is None or not taken:
        return RoundTimes(times.log_quantiles, times.mean)
    quiet = sorted(
        seconds / plan.calls
        for turn in turns
        for seconds, is_quiet in zip(turn.batch_seconds, pulses.quiet_blocks(turn.pulses), strict=True)
        if is_quiet
    )
    return RoundTimes(
        times.log_quantiles,
        times.mean,
        QuietBlocks.from_windows([low_parts(quiet)], [len(quiet)], [fmean(quiet)]) if quiet else None,
        pulses=len(taken),
        quiet_pulses=sum(map(pulses.is_quiet, taken)),
        best_pulse=pulses.best,
    )
