"""Arms in this process take turns; a round of turns takes the place of a run's replicate in a fresh process."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rnnbench.analysis.growth import growing
from rnnbench.analysis.neighbours import widening
from rnnbench.analysis.replicate import Times, log_ratio, pooled_times
from rnnbench.harness.devices import Device
from rnnbench.harness.live.put_back import undisturbed
from rnnbench.harness.turns.engine import Plan, Reading, calibrate, equal_blocks, refreshed, take_window, warm_up
from rnnbench.harness.turns.group_record import GroupRecord, estimate_spreads, visits_needed, visits_to_come, wants_more
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.harness.turns.progress import Progress
from rnnbench.harness.turns.schedule import balanced_order
from rnnbench.raised import ending, is_interrupt
from rnnbench.suite_file import Settings
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads.phases import TimedCall

MIN_WINDOWS = 2  # of an arm in a round: one turn and its mirror image


@dataclass(frozen=True)
class Taken:
    """The result of all rounds: each arm's times, one for each round."""

    times: dict[str, list[Times]]
    seconds: float  # total duration, calibration included
    cut: bool  # the budget ended the rounds although more were needed
    interrupted: bool = False  # Ctrl-C ended them
    needed: TimeNeeded | None = None  # for the rounds that it left out
    notes: tuple[str, ...] = ()  # sentences on times that grow


class LiveRounds:
    """Takes rounds until every arm's ratio to the reference is precise enough, or the budget is spent."""

    def __init__(
        self,
        device: Device,
        arms: Mapping[str, TimedCall],
        reference: str,
        settings: Settings,
        *,
        deadline: float | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_overrun: Callable[[float], None] = lambda seconds: None,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """`deadline`, on the clock `now`, ends the rounds, and a round after the first even between two turns.

        `on_overrun` is called before the first round if this round alone will take longer, with its seconds.
        """
        self._device = device
        self._arms = arms
        self._reference = reference
        self._settings = settings
        self._deadline = deadline
        self._on_progress = on_progress
        self._on_overrun = on_overrun
        self._now = now
        self._rng = random.Random(seed)
        self._record = GroupRecord()
        self.times: dict[str, list[Times]] = {arm: [] for arm in arms}  # one for each round
        self._turns: dict[str, list[float]] = {arm: [] for arm in arms}  # seconds per call
        self.calls = 0  # clocked, of the arm that was called least often
        self._plans: dict[str, Plan] = {}
        self._windows = settings.windows

    def notes(self) -> list[str]:
        """Return a sentence for each arm whose times grow from call to call."""
        return [
            f"Times of {arm} grow from call to call: its last calls take {share:.0%} longer than its first, compared "
            "with the others. It may keep something from each call."
            for arm, share in growing(self._turns).items()
        ]

    def run(self) -> Taken:
        """Calibrate, warm up and take the rounds; an error of an arm ends them, with the arm's name in the message.

        Ctrl-C ends the rounds, too; those that are finished stay. Raises KeyboardInterrupt if none is.
        """
        started = self._now()
        self.prepare()
        self.end_at(self._deadline)
        if self._cost() > self._left():
            self._on_overrun(self._cost())
        is_interrupted = False
        try:
            while wants_more(self._record, self._settings) and self.fits() and self.take():
                pass
        except KeyboardInterrupt:
            if not self._record.visits:
                raise
            is_interrupted = True
        cut = wants_more(self._record, self._settings) and not is_interrupted
        needed = self._needed() if cut else None
        return Taken(self.times, self._now() - started, cut, is_interrupted, needed, tuple(self.notes()))

    def prepare(self) -> None:
        """Calibrate and warm up; must be called before the first round."""
        seconds = self._settings.window_seconds
        plans = {}
        for index, arm in enumerate(self._arms):
            self._on_progress(Progress(0, index, 2 * len(self._arms), None))
            with self._turn(arm) as call:
                plans[arm] = calibrate(self._device, call, seconds)
        self._make_blocks_equal(plans)
        for index, (arm, plan) in enumerate(self._plans.items(), start=len(plans)):
            self._on_progress(Progress(0, index, 2 * len(plans), None))
            if self._left() > 0:
                with self._turn(arm) as call:
                    warm_up(self._device, call, plan)

    def _make_blocks_equal(self, plans: Mapping[str, Plan]) -> None:
        self._plans = equal_blocks(plans, self._settings.window_seconds, self._device.blocks)

    def end_at(self, deadline: float | None) -> None:
        """Set the deadline, after `prepare`; makes rounds shorter if the minimum number of rounds would not fit."""
        self._deadline = deadline
        if deadline is not None and self._cost() * self._settings.replicates > self._left():
            self._windows = MIN_WINDOWS  # more rounds show the spread better than longer ones

    def take(self) -> bool:
        """Take one round; False if the deadline has ended it between two turns, unless it is the first."""
        started = self._now()
        readings: dict[str, list[Reading]] = {arm: [] for arm in self._arms}
        order = balanced_order(list(self._arms), self._windows, self._rng)
        for turn, arm in enumerate(order):
            if self._record.visits and self._left() <= 0:
                return False
            self._tell(turn, len(order), self._now() - started)
            is_warm = turn > 0 and order[turn - 1] == arm
            with self._turn(arm) as call:
                readings[arm].append(take_window(self._device, call, self._plans[arm], is_warm=is_warm))
        pooled = {
            arm: pooled_times(
                [reading.quantiles for reading in taken],
                [self._plans[arm].calls] * len(taken),
                [reading.seconds for reading in taken],
            )
            for arm, taken in readings.items()
        }
        for arm, times in pooled.items():
            self.times[arm].append(times)
            self._turns[arm] += [reading.quantiles[len(reading.quantiles) // 2] for reading in readings[arm]]
        self.calls += self._windows * min(plan.calls for plan in self._plans.values())
        shortest = {arm: min(reading.quantiles[0] for reading in taken) for arm, taken in readings.items()}
        self._make_blocks_equal({arm: refreshed(plan, shortest[arm]) for arm, plan in self._plans.items()})
        reference = pooled[self._reference]
        ratios = {arm: log_ratio(times, reference) for arm, times in pooled.items() if arm != self._reference}
        self._record.add(self._now() - started, ratios)
        estimate_spreads([self._record])
        self._record.spread *= max(map(widening, self._record.log_ratios.values()), default=1.0)
        return True

    @contextmanager
    def _turn(self, arm: str) -> Iterator[Callable[[], object]]:
        """The arm's call, in its autograd mode without interruptions by Python; everything is restored at the end."""
        with named(arm), undisturbed(), self._arms[arm].mode():
            yield self._arms[arm].call

    def _cost(self) -> float:
        """Expected seconds of a round; at most one unclocked call is made in a window."""
        if self._record.visits:
            return self._record.cost
        return self._windows * sum(plan.seconds * (1 + 1 / plan.calls) for plan in self._plans.values())

    def _needed(self) -> TimeNeeded:
        rounds, is_least = visits_needed(self._record, self._settings)
        return TimeNeeded(rounds * self._cost(), is_least=is_least)

    def _left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - self._now()

    def fits(self) -> bool:
        """Whether there is time for another round before the deadline; always True before the first round."""
        return not self._record.visits or self._cost() <= self._left()

    def _tell(self, turn: int, turns: int, spent: float) -> None:
        done, to_come = self._record.visits, visits_to_come(self._record, self._settings)
        left = min(to_come * self._cost() - spent, self._left())
        self._on_progress(Progress(done + 1, done * turns + turn, (done + to_come) * turns, max(0.0, left)))


@contextmanager
def named(arm: str, hint: str = "") -> Iterator[None]:
    """Put the arm's name in front of an error and a hint behind it: any but a ValueError becomes a RuntimeError.

    So does a KeyboardInterrupt that the arm itself raises; that of a signal passes.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{arm}: {message_of(error)}{hint}") from error
    except RuntimeError as error:
        raise RuntimeError(f"{arm}: {message_of(error)}{hint}") from error
    except KeyboardInterrupt as error:
        if is_interrupt(error):
            raise
        raise RuntimeError(f"{arm}: {ending(error, 'the module')}") from error
    except Exception as error:
        raise RuntimeError(f"{arm}: {error_in_words(error)}{hint}") from error
