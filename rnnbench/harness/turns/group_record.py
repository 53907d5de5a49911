"""What is known of a group that is visited again and again: its ratios, and how many more visits they need."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean

from rnnbench.analysis.estimate import estimates_of, t_quantile
from rnnbench.suite.file import Settings

EXPECTED_SPREAD = 0.015  # assumed standard deviation of a log-ratio over replicates, before there are three
MIN_FOR_SPREAD = 3
# Visits before a group's precision may end a run. If its processes are in one of two modes at random, n replicates are
# all in one mode with a chance of 2/2^n, and seem precise: 12% with four replicates, 3% with six.
MIN_FOR_PRECISION = 6


@dataclass
class GroupRecord:
    """The results of one group so far."""

    seconds: list[float] = field(default_factory=list)  # of each visit
    log_ratios: dict[str, list[float]] = field(default_factory=dict)  # case key -> one ratio for each visit
    dead: bool = False  # no case of the group can be measured
    basis: str | None = None  # key of the case to which the ratios are: the reference, or without one the fastest
    spread: float = math.nan  # with it Student's interval is as wide as the group's widest; NaN: not known yet

    @property
    def visits(self) -> int:
        """The number of visits made, each in its own replicate."""
        return len(self.seconds)

    @property
    def half_width(self) -> float:
        """The largest half-width of any case's 95% interval, in logarithms, expected from the spread seen so far."""
        if not self.log_ratios:
            return 0.0 if self.seconds else math.inf
        return math.inf if math.isnan(self.spread) else self.spread * half_width(self.visits)

    @property
    def expected_spread(self) -> float:
        """The spread to plan with."""
        return EXPECTED_SPREAD if self.visits < MIN_FOR_SPREAD or math.isnan(self.spread) else self.spread

    @property
    def cost(self) -> float:
        """Expected seconds of another visit. The first also checks parity and calibrates: it counts only if alone."""
        return fmean(self.seconds[1:] or self.seconds)

    def add(self, seconds: float, log_ratios: Mapping[str, float]) -> None:
        """Record a visit."""
        self.seconds.append(seconds)
        # A missing case has failed, so it no longer counts for the precision of the group.
        self.log_ratios = {case: [*self.log_ratios.get(case, []), value] for case, value in log_ratios.items()}


def estimate_spreads(records: Sequence[GroupRecord]) -> None:
    """Estimate the spread of each group; the variances of all groups borrow from each other, as in a report."""
    samples = [(record, ratios) for record in records for ratios in record.log_ratios.values()]
    for record in records:
        record.spread = math.nan
    for (record, ratios), interval in zip(samples, estimates_of([ratios for _, ratios in samples]), strict=True):
        if len(ratios) > 1:
            spread = (interval.upper - interval.lower) / 2 / half_width(len(ratios))
            record.spread = spread if math.isnan(record.spread) else max(spread, record.spread)


def is_wide(record: GroupRecord, settings: Settings) -> bool:
    """Whether any ratio misses the requested precision."""
    return settings.precision is not None and record.half_width > math.log1p(settings.precision)


def wants_more(record: GroupRecord, settings: Settings) -> bool:
    """Whether the group needs another visit, regardless of the budget."""
    if record.dead:
        return False
    is_open = is_wide(record, settings) or _is_early(record.visits, record, settings)
    return record.visits < settings.replicates or (record.visits < settings.max_replicates and is_open)


def _is_early(visits: int, record: GroupRecord, settings: Settings) -> bool:
    """Whether so few visits do not show yet how precise the group's ratios are."""
    has_ratios = not record.visits or len(record.log_ratios) > 1
    return settings.precision is not None and has_ratios and visits < MIN_FOR_PRECISION


def visits_to_come(record: GroupRecord, settings: Settings) -> int:
    """Number of further visits until a group should reach the requested precision."""
    if not wants_more(record, settings):
        return 0
    needed = max(settings.replicates, record.visits + 1)
    if settings.precision is not None:
        goal, spread = math.log1p(settings.precision), record.expected_spread
        most = max(needed, settings.max_replicates)
        needed = bisect_left(
            range(most),
            True,
            lo=needed,
            key=lambda visits: not _is_early(visits, record, settings) and half_width(visits) * spread <= goal,
        )
    return needed - record.visits


def visits_needed(record: GroupRecord, settings: Settings) -> tuple[int, bool]:
    """Further visits until a group should reach the precision, and whether that is only the least number.

    Unlike `visits_to_come`, which plans ahead, it assumes no spread: with too few visits to see one, it counts only
    those that are made in any case.
    """
    if settings.precision is None or record.visits >= MIN_FOR_SPREAD or not wants_more(record, settings):
        return visits_to_come(record, settings), False
    return max(1, settings.replicates - record.visits), True


@cache
def half_width(replicates: int) -> float:
    """Half-width of Student's 95% interval, in standard deviations."""
    return t_quantile(0.975, replicates - 1) / math.sqrt(replicates) if replicates > 1 else math.inf
