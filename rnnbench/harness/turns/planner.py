"""Decide which groups get another replicate, and estimate how long that takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean, median

from rnnbench.analysis.estimate import estimates_of, t_quantile
from rnnbench.analysis.replicate import Times, log_ratio
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.records import Group, Workload
from rnnbench.suite.file import Settings
from rnnbench.text import rounded_up

EXPECTED_SPREAD = 0.015  # assumed standard deviation of a log-ratio over replicates, before there are three
MIN_FOR_SPREAD = 3
# Visits before a group's precision may end a run. If its processes are in one of two modes at random, n replicates are
# all in one mode with a chance of 2/2^n, and seem precise: 12% with four replicates, 3% with six.
MIN_FOR_PRECISION = 6
PROCESS_SPREAD = 0.006  # standard deviation of log-ratios from process to process on a quiet machine
NOISY = 0.02  # two standard deviations of a log-ratio
MEDIAN_DEVIATION = 0.6745  # of a normal distribution, over its standard deviation


@dataclass
class GroupRecord:
    """The results of one group so far."""

    seconds: list[float] = field(default_factory=list)  # of each visit
    log_ratios: dict[str, list[float]] = field(default_factory=dict)  # case key -> one ratio for each visit
    dead: bool = False  # no case of the group can be measured
    basis: str | None = None  # key of the case to which the ratios are: the reference, or without one the fastest
    spread: float = math.inf  # with it Student's interval is as wide as the group's widest; infinite: not known yet

    @property
    def visits(self) -> int:
        """The number of visits made, each in its own replicate."""
        return len(self.seconds)

    @property
    def half_width(self) -> float:
        """The largest half-width of any case's 95% interval, in logarithms, expected from the spread seen so far."""
        if not self.log_ratios:
            return 0.0 if self.seconds else math.inf
        return self.spread * half_width(self.visits)

    @property
    def expected_spread(self) -> float:
        """The spread to plan with."""
        return EXPECTED_SPREAD if self.visits < MIN_FOR_SPREAD or math.isinf(self.spread) else self.spread

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
    intervals = iter(estimates_of([ratios for record in records for ratios in record.log_ratios.values()]))
    for record in records:
        own = [(len(ratios), next(intervals)) for ratios in record.log_ratios.values()]
        half_widths = ((each.upper - each.lower) / 2 / half_width(visits) for visits, each in own if visits > 1)
        record.spread = max(half_widths, default=math.inf)


def is_wide(record: GroupRecord, settings: Settings) -> bool:
    """Whether any ratio misses the requested precision."""
    return settings.precision is not None and record.half_width > math.log1p(settings.precision)


def wants_more(record: GroupRecord, settings: Settings) -> bool:
    """Whether the group needs another visit, regardless of the budget."""
    is_open = record.visits < settings.max_replicates and is_wide(record, settings)
    return not record.dead and (is_open or record.visits < _fewest(record, settings))


def _fewest(record: GroupRecord, settings: Settings) -> int:
    """Visits that are made in any case; fewer do not show yet how precise the group's ratios are."""
    has_ratios = not record.visits or len(record.log_ratios) > 1
    if settings.precision is None or not has_ratios:
        return settings.replicates
    return max(settings.replicates, min(MIN_FOR_PRECISION, settings.max_replicates))


def visits_to_come(record: GroupRecord, settings: Settings) -> int:
    """Number of further visits until a group should reach the requested precision."""
    if not wants_more(record, settings):
        return 0
    needed = max(_fewest(record, settings), record.visits + 1)
    if settings.precision is not None:
        goal, most = math.log1p(settings.precision), max(needed, settings.max_replicates)
        enough = (visits for visits in range(needed, most) if half_width(visits) * record.expected_spread <= goal)
        needed = next(enough, most)
    return needed - record.visits


def visits_needed(record: GroupRecord, settings: Settings) -> int:
    """Further visits until a group should reach the precision, at least.

    Unlike `visits_to_come`, which plans ahead, it assumes no spread: with too few visits to see one, it counts only
    those that are made in any case.
    """
    if settings.precision is None or record.visits >= MIN_FOR_SPREAD or not wants_more(record, settings):
        return visits_to_come(record, settings)
    return max(1, settings.replicates - record.visits)


@cache
def half_width(replicates: int) -> float:
    """Half-width of Student's 95% interval, in standard deviations."""
    return t_quantile(0.975, replicates - 1) / math.sqrt(replicates) if replicates > 1 else math.inf


class Planner:
    """Adds replicates for imprecise ratios; if the budget is too small for all, each sweep's cheapest come first.

    A run stops by the width of its intervals, which it may look at after every replicate. The looks of a check and of
    `assert_not_slower` (`not_slower.Question`) test hypotheses, so each look costs error rate.
    """

    def __init__(self, groups: Sequence[Group], settings: Settings) -> None:
        self._groups = groups
        self._settings = settings
        self._records: dict[Workload, GroupRecord] = {group.workload: GroupRecord() for group in groups}
        self._start_seconds: list[float] = []
        self._differences: list[float] = []  # of each log-ratio between the two halves of a visit

    @property
    def start_seconds(self) -> float:
        """Expected seconds of the start of a worker."""
        return fmean(self._start_seconds)

    def add_start(self, seconds: float) -> None:
        """Record how long a worker took to start."""
        self._start_seconds.append(seconds)

    def add_visit(
        self,
        group: Group,
        seconds: float,
        times: Mapping[str, Times],
        halves: Sequence[Mapping[str, Times]] = (),
    ) -> None:
        """Record a visit: its duration, and the times of each measured case, in all and in each half of its turns."""
        record = self._records[group.workload]
        record.dead = not times
        if record.basis not in times:
            record.basis = _basis(group, times)
        basis = record.basis
        ratios = {} if basis is None else {case: log_ratio(own, times[basis]) for case, own in times.items()}
        record.add(seconds, ratios)
        if basis is not None and all(half.keys() == times.keys() for half in halves):
            of_halves = [[log_ratio(half[case], half[basis]) for case in times if case != basis] for half in halves]
            self._differences += [abs(first - second) for first, second in zip(*of_halves, strict=True)]

    def next_visits(self, left: float | None) -> list[Group]:
        """The groups of the next replicate, given the seconds left in the budget; empty if the run is done."""
        estimate_spreads(list(self._records.values()))
        wanted = [group for group in self._groups if wants_more(self._records[group.workload], self._settings)]
        if left is None:
            return wanted
        left -= self.start_seconds
        chosen = []
        for group in self._by_urgency(wanted):
            cost = self._cost(group)
            if cost < left:
                left -= cost
                chosen.append(group)
        return chosen

    def seconds_left(self, budget_left: float | None) -> float | None:
        """Expected seconds until the end, from within a replicate; None before the first visit."""
        if not any(record.visits for record in self._records.values()):
            return None
        to_come = {group: visits_to_come(self._records[group.workload], self._settings) for group in self._groups}
        seconds = self._seconds(to_come) - self.start_seconds  # this replicate's worker has started
        return max(0.0, seconds if budget_left is None else min(seconds, budget_left))

    def missed(self) -> list[Group]:
        """The visited groups with a ratio that missed the requested precision."""
        estimate_spreads(list(self._records.values()))
        records = {group: self._records[group.workload] for group in self._groups}
        return [group for group, record in records.items() if record.visits and is_wide(record, self._settings)]

    def seconds_needed(self) -> float | None:
        """Expected seconds of all visits that are still wanted; None if none is."""
        estimate_spreads(list(self._records.values()))
        short = {group: visits_needed(self._records[group.workload], self._settings) for group in self._groups}
        return self._seconds(short) if any(short.values()) else None

    def noise(self) -> float:
        """The spread of log-ratios over replicates, at least, judged by the halves of visits; NaN if not known."""
        if not self._differences:
            return math.nan
        within = median(self._differences) / MEDIAN_DEVIATION / 2  # half as much: a ratio is the mean of two halves
        return math.hypot(PROCESS_SPREAD, within)

    def replicate_seconds(self) -> float:
        """Expected seconds of a replicate of all groups."""
        return self._seconds(dict.fromkeys(self._groups, 1))

    def case_seconds(self) -> float | None:
        """Expected seconds of a case in another replicate, without the start of a worker; None before a visit."""
        visited = [group for group in self._groups if self._records[group.workload].visits]
        return sum(map(self._cost, visited)) / sum(len(group.cases) for group in visited) if visited else None

    def _by_urgency(self, groups: Sequence[Group]) -> list[Group]:
        """Order groups by missing replicates, most first; among equals the sweeps take turns, cheapest group first."""

        def visits_short(group: Group) -> int:
            return max(0, self._settings.replicates - self._records[group.workload].visits)

        def seconds(group: Group) -> float:
            return visits_to_come(self._records[group.workload], self._settings) * self._cost(group)

        return sorted(sweeps_in_turn(sorted(groups, key=seconds)), key=visits_short, reverse=True)

    def _seconds(self, visits: Mapping[Group, int]) -> float:
        """Expected seconds of so many visits of each group."""
        starts = max(visits.values(), default=0)
        return starts * self.start_seconds + sum(self._cost(group) * number for group, number in visits.items())

    def _cost(self, group: Group) -> float:
        """Expected seconds of a visit: those of the group, or the usual ones."""
        if self._records[group.workload].visits:
            return self._records[group.workload].cost
        known = [seconds for record in self._records.values() for seconds in record.seconds]
        return fmean(known) if known else 0.0


def outlook(planner: Planner, settings: Settings, spent: float) -> str:
    """Say after the first replicate, which ended after `spent` seconds, whether the budget will do.

    Empty if no precision was asked for, or if nothing can be compared.
    """
    noise, budget = planner.noise(), settings.budget_seconds
    if settings.precision is None or math.isnan(noise):
        return ""
    target, goal = f"±{100 * settings.precision:.3g}%", math.log1p(settings.precision) / noise
    least = max(settings.replicates, MIN_FOR_PRECISION)
    possible = range(least, max(least, settings.max_replicates) + 1)
    told = f"{target} should not be expected in {settings.max_replicates:,} replicates"
    if (enough := next((replicates for replicates in possible if half_width(replicates) <= goal), None)) is not None:
        needed = spent + (enough - 1) * planner.replicate_seconds()
        told = f"{target} should be reached in about {rounded_up(needed)}"
        if budget is not None and needed <= budget:
            return f"{told}, within the budget of {budget:g} s"
    varies = f"a ratio varies by ±{200 * noise:.0f}% between replicates"
    noisy = f"this machine is noisy today ({varies}): " if 2 * noise > NOISY else ""
    return f"{noisy}{told}" + ("" if budget is None else f"; going on to the budget of {budget:g} s")


def _basis(group: Group, times: Mapping[str, Times]) -> str | None:
    """The measured case to which the ratios of a group are: its reference, or the fastest where it has none.

    None if the reference was not measured, or nothing can be compared.
    """
    if group.workload.reference == "none":
        return min(times, key=lambda case: times[case].median) if len(times) > 1 else None
    return next((case.key for case in group.cases if case.is_reference and case.key in times), None)
