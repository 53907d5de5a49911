"""Decide which groups get another replicate, and estimate how long that takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean

from rnnbench.analysis.estimate import (
    Times,
    estimates_of,
    log_ratio,
    t_quantile,
    undisturbed_estimates_of,
    undisturbed_log_ratio,
)
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.records import Group, Workload
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
    # The same by quiet blocks, each ratio with their number: NaN and 0 for a visit with too few.
    undisturbed: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    dead: bool = False  # no case of the group can be measured, or none that is compared with the reference
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
    def cost(self) -> float:
        """Expected seconds of another visit. The first also checks parity and calibrates: it counts only if alone."""
        return fmean(self.seconds[1:] or self.seconds)

    def add(self, seconds: float, times: Mapping[str, Times], base: Times | None) -> None:
        """Record a visit: the times of each case, and those that its ratios are to; None if there are no ratios."""
        self.seconds.append(seconds)
        log_ratios: dict[str, list[float]] = {}
        undisturbed: dict[str, list[tuple[float, int]]] = {}
        if base is not None:
            for case, own in times.items():
                log_ratios[case] = [*self.log_ratios.get(case, []), log_ratio(own, base)]
                undisturbed[case] = [*self.undisturbed.get(case, []), undisturbed_log_ratio(own, base)]
        # A missing case has failed, so it no longer counts for the precision of the group.
        self.log_ratios, self.undisturbed = log_ratios, undisturbed


def estimate_spreads(records: Sequence[GroupRecord]) -> None:
    """Estimate the spread of each group; the variances of all groups borrow from each other, as in a report."""
    shared = iter(estimates_of([ratios for record in records for ratios in record.log_ratios.values()]))
    undisturbed = iter(
        undisturbed_estimates_of([ratios for record in records for ratios in record.undisturbed.values()])
    )
    for record in records:
        half_widths = []
        for ratios, by_all, by_quiet in zip(record.log_ratios.values(), shared, undisturbed, strict=False):
            known = by_quiet if by_quiet.has_interval else by_all
            if len(ratios) > 1:
                half_widths.append((known.upper - known.lower) / 2 / half_width(len(ratios)))
        record.spread = max(half_widths, default=math.inf)


def is_wide(record: GroupRecord, settings: Settings) -> bool:
    """Return whether any ratio misses the requested precision."""
    return settings.precision is not None and record.half_width > math.log1p(settings.precision)


def visits_to_come(record: GroupRecord, settings: Settings) -> int:
    """Return how many more visits should make a group as precise as asked, whatever the budget; 0 if it needs none.

    Some are made in any case: fewer do not show yet how precise the group's ratios are.
    """
    fewest, has_ratios = settings.replicates, not record.visits or len(record.log_ratios) > 1
    if settings.precision is not None and has_ratios:
        fewest = max(fewest, min(MIN_FOR_PRECISION, settings.max_replicates))
    is_open = record.visits < settings.max_replicates and is_wide(record, settings)
    if record.dead or not (is_open or record.visits < fewest):
        return 0
    needed = max(fewest, record.visits + 1)
    if settings.precision is not None:
        is_known = record.visits >= MIN_FOR_SPREAD and math.isfinite(record.spread)
        spread = record.spread if is_known else EXPECTED_SPREAD
        goal, most = math.log1p(settings.precision), max(needed, settings.max_replicates)
        needed = next((visits for visits in range(needed, most) if half_width(visits) * spread <= goal), most)
    return needed - record.visits


@cache
def half_width(replicates: int) -> float:
    """Half-width of Student's 95% interval, in standard deviations."""
    return t_quantile(0.975, replicates - 1) / math.sqrt(replicates) if replicates > 1 else math.inf


class Planner:
    """Adds replicates for imprecise ratios; if the budget is too small for all, each sweep's cheapest come first.

    A run stops by the width of its intervals, which it may look at after every replicate. The looks of a check and of
    `assert_not_slower` (`analysis.rounds.Question`) test hypotheses, so each look costs error rate.
    """

    def __init__(self, groups: Sequence[Group], settings: Settings) -> None:
        self._groups = groups
        self._settings = settings
        self._records: dict[Workload, GroupRecord] = {group.workload: GroupRecord() for group in groups}
        self._start_seconds: list[float] = []

    def add_start(self, seconds: float) -> None:
        """Record how long a worker took to start."""
        self._start_seconds.append(seconds)

    def add_visit(self, group: Group, seconds: float, times: Mapping[str, Times]) -> None:
        """Record a visit: its duration, and the times of each measured case.

        The ratios of a group are to its reference, or to the case that is fastest at first where it has none. There are
        none if the reference was not measured, or nothing can be compared.
        """
        record = self._records[group.workload]
        record.dead = record.dead or not times
        if record.basis not in times:
            bases = [case.key for case in group.cases if case.is_reference and case.key in times]
            if group.workload.reference == "none" and len(times) > 1:
                bases = sorted(times, key=lambda case: times[case].median)
            record.basis = bases[0] if bases else None
        base = times.get(record.basis or "")
        record.add(seconds, times, base)

    def leave_out(self, group: Group) -> None:
        """Plan no more visits of a group."""
        self._records[group.workload].dead = True

    def next_visits(self, left: float = math.inf) -> list[Group]:
        """Return the groups of the next replicate, given the seconds left in the budget; empty if the run is done.

        Groups that miss most replicates come first; among equals the sweeps take turns, the cheapest group first.
        """
        estimate_spreads([*self._records.values()])
        to_come = self._to_come()
        wanted = [group for group in self._groups if to_come[group]]
        left -= fmean(self._start_seconds)
        cheapest_first = sorted(wanted, key=lambda group: to_come[group] * self._cost(group))
        chosen = []
        for group in sorted(
            sweeps_in_turn(cheapest_first),
            key=lambda group: min(self._records[group.workload].visits, self._settings.replicates),
        ):
            cost = self._cost(group)
            if cost < left:
                left -= cost
                chosen.append(group)
        return chosen

    def seconds_left(self, budget_left: float = math.inf) -> float | None:
        """Return the expected seconds until the end, from within a replicate; None before the first visit."""
        if not any(record.visits for record in self._records.values()):
            return None
        seconds = self._seconds() - fmean(self._start_seconds)  # this replicate's worker has started
        return max(0.0, min(seconds, budget_left))

    def ratios(self) -> tuple[float, ...]:
        """Return the ratio of each case to its reference so far; of a group without a reference, to its fastest."""
        return tuple(
            math.exp(fmean(values))
            for record in self._records.values()
            for case, values in record.log_ratios.items()
            if case != record.basis
        )

    def missed(self) -> list[Group]:
        """Return the visited groups with a ratio that missed the requested precision."""
        estimate_spreads([*self._records.values()])
        records = {group: self._records[group.workload] for group in self._groups}
        return [group for group, record in records.items() if record.visits and is_wide(record, self._settings)]

    def seconds_needed(self) -> float | None:
        """Return the expected seconds of all visits that are still wanted; None if none is."""
        estimate_spreads([*self._records.values()])
        return self._seconds() or None

    def _to_come(self) -> dict[Group, int]:
        """Return the number of visits that each group still needs, by the spreads that were estimated last."""
        return {group: visits_to_come(self._records[group.workload], self._settings) for group in self._groups}

    def _seconds(self) -> float:
        """Return the expected seconds of all visits that are still wanted, and of the workers that make them."""
        to_come = self._to_come()
        visits = sum(self._cost(group) * number for group, number in to_come.items())
        return max(to_come.values(), default=0) * fmean(self._start_seconds) + visits

    def _cost(self, group: Group) -> float:
        """Return the expected seconds of a visit: those of the group, or the usual ones."""
        if self._records[group.workload].visits:
            return self._records[group.workload].cost
        known = [seconds for record in self._records.values() for seconds in record.seconds]
        return fmean(known or [0.0])
