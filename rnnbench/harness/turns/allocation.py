"""How long the turns of a visit are, so that a budget makes ratios as precise as it can.

Another visit costs h, in which cases are prepared and verified, and c for each second of a case's turns. A log-ratio of
a visit has the variance B^2 between processes, and that of its turns, v / t for t seconds. Over a budget, the variance
of the mean is proportional to the variance of a visit times its cost. It is least at t = sqrt(v h / (c B^2))
(Kalibera and Jones 2013, doi:10.1145/2464157.2464160).

- **Undisturbed** (`rnnbench.analysis.quiet`): v comes from the halves of visits, but n quiet blocks of the scarcer side
  add at least (0.06 / n)^2, more than forty tell no more, and fewer than six tell nothing.
- **All blocks**, where quiet ones are too rare whatever the length.

So the best of some lengths is chosen.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, median_low
from typing import Self, TypeVar

import numpy as np

from rnnbench.analysis.estimate import BLOCK_SPREAD, LEAST_BETWEEN
from rnnbench.analysis.quiet import MAX_QUIET_BLOCKS, MIN_QUIET_BLOCKS
from rnnbench.analysis.replicate_times import Times, log_ratio, times_by_case, undisturbed_log_ratio
from rnnbench.store.records import Window

Key = TypeVar("Key")
FIRST_VISITS = 2  # of a group, with turns of the usual length
# the usual length
LEAST_TIMES = 0.5
MOST_TIMES = 16.0
LENGTHS_BETWEEN = 31  # lengths between these
ENOUGH_BLOCKS = 1.5 * MIN_QUIET_BLOCKS  # expected in a visit, so that few visits have less than are needed
# Standard deviation between processes that is assumed, with so many degrees of freedom, before there are many cases.
ASSUMED_BETWEEN = 0.006
ASSUMED_FREEDOM = 4
MEDIAN_OF_SQUARES = 0.455  # of a normal value, over its variance
LONGER = 1.3  # times what was asked for: the calls are so long that turns can't be shorter


@dataclass(frozen=True)
class TurnsTaken:
    """The turns of one visit."""

    asked_seconds: float  # for the turns of a case
    case_seconds: float  # clocked, of a case in the mean
    wall_seconds: float  # of all turns, with waits and unclocked calls
    halves: tuple[Mapping[str, Times], Mapping[str, Times]]  # the times of each case in each half of its turns
    quiet_share: float | None  # of its pulses; None if there were none


def turns_taken(windows: Sequence[Window], asked_seconds: float, wall_seconds: float) -> TurnsTaken | None:
    """Return the turns of a visit, from its windows; None if it has none."""
    if not windows:
        return None
    pulses = sum(window.pulses for window in windows)
    return TurnsTaken(
        asked_seconds,
        sum(window.seconds for window in windows) / len({window.case for window in windows}),
        wall_seconds,
        (
            times_by_case(window for window in windows if window.order % 2 == 0),
            times_by_case(window for window in windows if window.order % 2 == 1),
        ),
        sum(window.quiet_pulses for window in windows) / pulses if pulses else None,
    )


@dataclass(frozen=True)
class VisitCost:
    """What one visit cost, and what it shows of the noise of its turns."""

    overhead: float  # seconds beside the turns
    asked_seconds: float
    case_seconds: float
    wall_seconds: float
    has_pulses: bool
    quiet_blocks: float  # of the scarcer side of a ratio, in the median over cases
    # Of a log-ratio, in the mean over cases, as far as its turns cause it: by all blocks, and by the quiet ones, or
    # where those are too few by all blocks.
    variance: float
    quiet_variance: float

    @classmethod
    def of(cls, seconds: float, turns: TurnsTaken, times: Mapping[str, Times], basis: str) -> Self:
        """Return the cost of a visit of so many seconds; `basis`: the case that the others are compared with."""
        blocks = []
        squares = []
        quiet_squares = []
        for case in times:
            if case == basis:
                continue
            blocks.append(min(_quiet_blocks(times[case]), _quiet_blocks(times[basis])))
            pairs = [(half[case], half[basis]) for half in turns.halves]
            first, second = (log_ratio(*pair) for pair in pairs)
            squares.append((first - second) ** 2)
            (first, first_blocks), (second, second_blocks) = (undisturbed_log_ratio(*pair) for pair in pairs)
            is_known = first_blocks and second_blocks
            quiet_squares.append((first - second) ** 2 if is_known else squares[-1])
        return cls(
            max(0.0, seconds - turns.wall_seconds),
            turns.asked_seconds,
            turns.case_seconds,
            turns.wall_seconds,
            turns.quiet_share is not None,
            median(blocks) if blocks else 0.0,
            fmean(squares) / 4 if squares else 0.0,
            fmean(quiet_squares) / 4 if quiet_squares else 0.0,
        )


def _quiet_blocks(times: Times) -> int:
    return 0 if times.quiet is None else times.quiet.blocks


@dataclass(frozen=True)
class GroupCost:
    """What another visit of a group would cost, and what it would tell, judged by the visits so far."""

    visits: Sequence[VisitCost]

    @property
    def has_pulses(self) -> bool:
        """Return True if pulses tell which of its blocks are quiet."""
        return any(visit.has_pulses for visit in self.visits)

    @property
    def quiet_rate(self) -> float:
        """Return the quiet blocks of the scarcer side in each second of the turns of a case."""
        return sum(visit.quiet_blocks for visit in self.visits) / self._case_seconds

    def turn_variance(self, case_seconds: np.ndarray, *, is_quiet: bool) -> np.ndarray:
        """Return the variance that turns of so many seconds add to a log-ratio: (n,)."""
        of_a_second = [
            (visit.quiet_variance if is_quiet else visit.variance) * visit.case_seconds for visit in self.visits
        ]
        # The lower median, since one disturbed half would make turns long for ever.
        usual = median_low(of_a_second) / MEDIAN_OF_SQUARES
        seconds = np.maximum(case_seconds, self.least_seconds)
        least = (BLOCK_SPREAD / np.minimum(MAX_QUIET_BLOCKS, self.quiet_rate * seconds)) ** 2 if is_quiet else 0.0
        variance: np.ndarray = np.maximum(usual / seconds, least)
        return variance

    @property
    def least_seconds(self) -> float:
        """Return the shortest turns of a case, which long calls make longer than was asked for."""
        last = self.visits[-1]
        return last.case_seconds if last.case_seconds > LONGER * last.asked_seconds else 0.0

    def seconds(self, case_seconds: float | np.ndarray) -> float | np.ndarray:
        """Return the expected seconds of a visit; the first visit also calibrates, and counts only if it is alone."""
        overhead = fmean(visit.overhead for visit in self.visits[1:] or self.visits)
        pace = sum(visit.wall_seconds for visit in self.visits) / self._case_seconds
        return overhead + pace * np.maximum(case_seconds, self.least_seconds)

    @property
    def _case_seconds(self) -> float:
        return sum(visit.case_seconds for visit in self.visits)


def between(samples: Iterable[Sequence[tuple[float, float]]]) -> float:
    """Return the usual standard deviation of log-ratios between processes, from all cases and a first assumption.

    `samples`: of each case, its log-ratios, each with the variance that its turns explain.
    """
    several = [np.array(sample) for sample in samples if len(sample) > 1]
    several = [ratios for ratios in several if ratios[:, 0].any()]  # a reference does not differ from itself
    if not several:
        return ASSUMED_BETWEEN
    freedom = np.array([len(ratios) - 1 for ratios in several])
    medians = (1 - 2 / (9 * freedom)) ** 3  # of the variance of a sample, where the true one is 1
    excess = np.array([ratios[:, 0].var(ddof=1) - ratios[:, 1].mean() for ratios in several])
    usual = max(0.0, float(np.median(excess / medians)))
    whole = (ASSUMED_FREEDOM * ASSUMED_BETWEEN**2 + freedom.sum() * usual) / (ASSUMED_FREEDOM + freedom.sum())
    return max(LEAST_BETWEEN, math.sqrt(whole))


@dataclass(frozen=True)
class Allocator:
    """Chooses the length of turns for the groups of a run."""

    usual: float  # seconds of the turns of a case in the first visits
    between_processes: float  # standard deviation of undisturbed log-ratios
    between_visits: float  # of log-ratios of all blocks

    def allocate(
        self, costs: Mapping[Key, GroupCost], visits: Mapping[Key, int], seconds_left: float
    ) -> dict[Key, tuple[float, bool]]:
        """Return the length of each group's turns, and whether its quiet blocks will be enough.

        In the `left` seconds, so many `visits` of each group shall fit: the longest turns are cut until they do.
        """
        lengths = self.usual * np.geomspace(LEAST_TIMES, MOST_TIMES, LENGTHS_BETWEEN)
        longest = 0
        fits = LENGTHS_BETWEEN
        while fits - longest > 1:
            most = (longest + fits) // 2
            chosen = {key: self._best(cost, lengths[: most + 1]) for key, cost in costs.items()}
            seconds = sum(visits[key] * float(costs[key].seconds(length)) for key, (length, _) in chosen.items())
            longest, fits = (most, fits) if seconds <= seconds_left else (longest, most)
        return {key: self._best(cost, lengths[: longest + 1]) for key, cost in costs.items()}

    def _best(self, cost: GroupCost, lengths: np.ndarray) -> tuple[float, bool]:
        """Return the length with the least variance of a mean over a given time, and whether it is of quiet blocks."""
        is_enough = cost.quiet_rate * np.maximum(lengths, cost.least_seconds) >= ENOUGH_BLOCKS
        is_quiet = bool(is_enough.any())
        lengths = lengths[is_enough] if is_quiet else lengths
        between = self.between_processes if is_quiet else self.between_visits
        variance = between**2 + cost.turn_variance(lengths, is_quiet=is_quiet)
        return float(lengths[(variance * cost.seconds(lengths)).argmin()]), is_quiet
