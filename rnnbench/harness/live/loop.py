"""Measure until enough is known: the one loop of `measure`, `sweep`, `assert_not_slower`, `fastest` and `explain`.

Calls of this process take short turns; a round of turns is the replicate. What "enough" means is a `Stop`.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

from rnnbench.analysis.replicate import Times, pooled_times
from rnnbench.analysis.rounds import growing
from rnnbench.harness.devices import Clocked, Device
from rnnbench.harness.live.put_back import undisturbed
from rnnbench.harness.live.stop import Stop
from rnnbench.harness.turns.engine import calibrate, warm_up
from rnnbench.harness.turns.progress import Progress
from rnnbench.harness.turns.schedule import Turns, balanced_order, plan_turns
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads.phases import TimedCall

CASE_SECONDS = 0.05  # of each call's turns in a replicate
CALIBRATION_SECONDS = 0.01


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
        wanted, made = stop.wanted(), 0
        plans, last = self._planned(wanted)
        if (asked := last * stop.to_come()) > deadline - self._now():
            # More replicates show the spread better than longer ones.
            self._case_seconds *= max(0.0, deadline - self._now()) / asked
            plans, last = self._planned(wanted)
        try:
            while wanted and (not made or last <= deadline - self._now()):
                begun = self._now()
                times = self._replicate(plans, made, stop.to_come(), last, deadline, on_progress)
                if times is None:
                    break
                last, made = self._now() - begun, made + 1
                stop.add(times, last)
                wanted = stop.wanted()
                plans = self._planned(wanted)[0] if wanted else plans
            self.cut = bool(wanted)
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
        """The call, in its autograd mode without interruptions by Python; everything is restored at the end."""
        with named(name), undisturbed(), self._calls[name].mode():
            yield self._calls[name].call


@contextmanager
def named(call: str, hint: str = "") -> Iterator[None]:
    """Put the call's name in front of an error and a hint behind it: any but a ValueError becomes a RuntimeError."""
    try:
        yield
    except Exception as error:
        is_said = isinstance(error, ValueError | RuntimeError)
        text = message_of(error) if is_said else error_in_words(error)
        raise (ValueError if isinstance(error, ValueError) else RuntimeError)(f"{call}: {text}{hint}") from error
