"""Decide which groups get another replicate or are split, and estimate how long that takes."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from rnnbench.analysis.estimate import (
    ALWAYS_QUIET,
    MIN_QUIET_REPLICATES,
    MINUTE,
    drift,
    estimates_of,
    quiet_estimates_of,
)
from rnnbench.analysis.replicate_times import Times, log_ratio, undisturbed_log_ratio
from rnnbench.analysis.variances import t_quantile
from rnnbench.harness.turns.schedule import LEAST_BLOCKS, MOST_BLOCKS, sweeps_in_turn
from rnnbench.store.records import Case, Group, Workload
from rnnbench.suite.file import Settings

EXPECTED_SPREAD = 0.015  # assumed standard deviation of a log-ratio over replicates, before there are three
MIN_FOR_SPREAD = 3
# Visits before a group's precision may end a run. If its processes are in one of two modes at random, n replicates are
# all in one mode with a chance of 2/2^n, and seem precise: 12% with four replicates, 3% with six.
MIN_FOR_PRECISION = 6
MIN_UNDISTURBED = 4  # the same if all of its ratios are undisturbed: their variances come from all cases
ENOUGH_REPLICATES = 5  # for the interval of a ratio
NEWEST_VISITS = 3  # whose seconds are expected of another visit
MIN_LONGEST_SECONDS = 5e-4  # of a group's longest call; shorter blocks are quiet often enough
MIN_LENGTH_RATIO = 2.0  # times as long as a case and its reference take is the longest call
MAX_SHORT_SECONDS = 2e-3  # a longer call is no more often quiet by itself
QUIET_BEFORE_VISIT = 0.98  # of pulses in a row before a visit; those between blocks are quiet less often


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
    quiet_shares: list[float] = field(default_factory=list)  # of the pulses of each visit that had some
    blocks: int = 0  # of a case in the last visit
    minutes: set[int] = field(default_factory=set)  # of the run, in which visits began
    is_undisturbed: bool = False  # all of its ratios are

    @property
    def visits(self) -> int:
        """The number of visits made, each in its own replicate."""
        return len(self.seconds)

    @property
    def half_width(self) -> float:
        """The largest half-width of any case's 95% interval, in logarithms, expected from the spread seen so far."""
        if not self.log_ratios:
            return 0.0 if self.seconds else math.inf
        return self.half_width_after(self.visits, self.spread)

    @property
    def may_be_disturbed(self) -> bool:
        """Return True if there are ratios and pulses beside them, and some ratio is not known to be undisturbed."""
        return bool(self.log_ratios and self.quiet_shares) and not self.is_undisturbed

    @property
    def is_shared(self) -> bool:
        """Return True if some ratio is known on a shared core alone."""
        return self.may_be_disturbed and fmean(self.quiet_shares) < ALWAYS_QUIET

    def half_width_after(self, visits: int, spread: float) -> float:
        """Return the largest half-width after so many visits, if they go on to take as many minutes each."""
        alone = spread * half_width(visits)
        if not self.is_shared:
            return alone
        farthest = max(abs(fmean(ratios)) for ratios in self.log_ratios.values())
        minutes = max(1.0, len(self.minutes) * visits / self.visits)
        return math.hypot(alone, float(drift(farthest, fmean(self.quiet_shares), minutes)))

    @property
    def cost(self) -> float:
        """Expected seconds of another visit. The first also checks parity and calibrates: it counts only if alone."""
        return fmean(self.seconds[1:][-NEWEST_VISITS:] or self.seconds)

    def add(self, seconds: float, times: Mapping[str, Times], base: Times | None) -> None:
        """Record a visit: the times of each case, and those that its ratios are to; None if there are no ratios."""
        self.seconds.append(seconds)
        self.blocks = max((each.blocks for each in times.values()), default=0)
        log_ratios: dict[str, list[float]] = {}
        undisturbed: dict[str, list[tuple[float, int]]] = {}
        if base is not None:
            for case, of_case in times.items():
                log_ratios[case] = [*self.log_ratios.get(case, []), log_ratio(of_case, base)]
                undisturbed[case] = [*self.undisturbed.get(case, []), undisturbed_log_ratio(of_case, base)]
        # A missing case has failed, so it no longer counts for the precision of the group.
        self.log_ratios = log_ratios
        self.undisturbed = undisturbed

    def part(self, cases: Collection[str], share: float) -> "GroupRecord":
        """Return the record of some of the cases, which take this share of a visit."""
        return GroupRecord(
            [share * seconds for seconds in self.seconds],
            {case: ratios for case, ratios in self.log_ratios.items() if case in cases},
            {case: ratios for case, ratios in self.undisturbed.items() if case in cases},
            self.dead,
            self.basis,
            quiet_shares=[*self.quiet_shares],
            blocks=self.blocks,
            minutes={*self.minutes},
        )


def estimate_spreads(records: Sequence[GroupRecord]) -> None:
    """Estimate the spread of each group; the variances of all groups borrow from each other, as in a report."""
    shared = iter(estimates_of([ratios for record in records for ratios in record.log_ratios.values()]))
    undisturbed = iter(quiet_estimates_of([ratios for record in records for ratios in record.undisturbed.values()]))
    for record in records:
        half_widths = []
        are_undisturbed = []
        for ratios, by_all, by_quiet in zip(record.log_ratios.values(), shared, undisturbed, strict=False):
            are_undisturbed.append(by_quiet.has_interval)
            fit = by_quiet if by_quiet.has_interval else by_all
            if len(ratios) > 1:
                half_widths.append((fit.upper - fit.lower) / 2 / half_width(len(ratios)))
        record.spread = max(half_widths, default=math.inf)
        record.is_undisturbed = bool(are_undisturbed) and all(are_undisturbed)


def is_wide(record: GroupRecord, settings: Settings) -> bool:
    """Return True if any ratio misses the requested precision."""
    return settings.precision is not None and record.half_width > math.log1p(settings.precision)


def fewest_visits(record: GroupRecord, settings: Settings) -> int:
    """Return the least number of visits: fewer do not show yet how precise the group's ratios are."""
    has_ratios = not record.visits or len(record.log_ratios) > 1
    if settings.precision is None or not has_ratios:
        return settings.replicates
    least = MIN_UNDISTURBED if record.is_undisturbed else MIN_FOR_PRECISION
    return max(settings.replicates, min(least, settings.max_replicates))


def visits_to_come(record: GroupRecord, settings: Settings) -> int:
    """Return how many more visits should make a group as precise as asked, whatever the budget; 0 if it needs none."""
    fewest = fewest_visits(record, settings)
    is_open = record.visits < settings.max_replicates and is_wide(record, settings)
    if record.dead or not (is_open or record.visits < fewest):
        return 0
    needed = max(fewest, record.visits + 1)
    if settings.precision is not None:
        is_known = record.visits >= MIN_FOR_SPREAD and math.isfinite(record.spread)
        spread = record.spread if is_known else EXPECTED_SPREAD
        goal = math.log1p(settings.precision)
        more = range(needed, max(needed, settings.max_replicates))
        # Each further visit makes the half-width smaller.
        needed += bisect_left(more, True, key=lambda visits: record.half_width_after(visits, spread) <= goal)
    return needed - record.visits


def half_width(replicates: int) -> float:
    """Return the half-width of Student's 95% interval, in standard deviations."""
    return t_quantile(0.975, replicates - 1) / math.sqrt(replicates) if replicates > 1 else math.inf


class Planner:
    """Adds replicates for imprecise ratios; if the budget is too small for all, each sweep's cheapest come first.

    The subgroups of a group that was split (`split`) are visited in turn, one in each replicate.

    A run stops by the width of its intervals, which it may look at after every replicate. The looks of a check and of
    `assert_not_slower` (`analysis.rounds.Question`) test hypotheses, so each look costs error rate.
    """

    def __init__(self, groups: Sequence[Group], settings: Settings) -> None:
        self._groups = groups
        self._settings = settings
        self._subgroups: dict[Workload, tuple[Group, ...]] = {group.workload: (group,) for group in groups}
        self._records: dict[Group, GroupRecord] = {group: GroupRecord() for group in groups}
        self._start_seconds: list[float] = []
        self._visiting_seconds = 0.0  # of all visits
        self.case_seconds = settings.windows * settings.window_seconds  # of the turns of a case in a visit

    def add_start(self, seconds: float) -> None:
        """Record how long a worker took to start."""
        self._start_seconds.append(seconds)

    def add_visit(
        self, group: Group, seconds: float, times: Mapping[str, Times], quiet_share: float | None = None
    ) -> None:
        """Record a visit: its duration, the times of each measured case, and the quiet share of its pulses, if any.

        The ratios of a group are to its reference, or to the case that is fastest at first where it has none. There are
        none if the reference was not measured, or nothing can be compared.
        """
        for subgroup in self._visited(group, times):
            of_subgroup = {case.key: times[case.key] for case in subgroup.cases if case.key in times}
            self._add_to(subgroup, seconds * len(subgroup.cases) / max(len(group.cases), 1), of_subgroup)
            if quiet_share is not None:
                self._records[subgroup].quiet_shares.append(quiet_share)
            self._records[subgroup].minutes.add(int(self._visiting_seconds // MINUTE))
        self._visiting_seconds += seconds

    def _add_to(self, group: Group, seconds: float, times: Mapping[str, Times]) -> None:
        record = self._records[group]
        record.dead = record.dead or not times
        if record.basis not in times:
            bases = [case.key for case in group.cases if case.is_reference and case.key in times]
            if group.workload.reference == "none" and len(times) > 1:
                bases = sorted(times, key=lambda case: times[case].median)
            record.basis = bases[0] if bases else None
        record.add(seconds, times, times.get(record.basis or ""))

    def _visited(self, group: Group, times: Collection[str]) -> Sequence[Group]:
        """Return the subgroups that a visit was to, of which it timed these cases.

        A group may have been split in the visit, or in an earlier part of the run.
        """
        if group in self._records:
            return [group]
        subgroups = self._subgroups[group.workload]
        if len(subgroups) == 1:
            self.split(subgroups[0], parted(subgroups[0], group.cases))
            return self._subgroups[group.workload][:1]
        timed = [subgroup for subgroup in subgroups if any(case.key in times for case in compared(subgroup))]
        return timed or subgroups

    def leave_out(self, group: Group) -> None:
        """Plan no more visits of a group, or of a subgroup."""
        for subgroup in [group] if group in self._records else self._subgroups[group.workload]:
            self._records[subgroup].dead = True

    def is_whole(self, group: Group) -> bool:
        """Return True if all cases of a group are visited together, and none has been visited so far."""
        return group in self._records and not self._records[group].visits

    def split(self, whole: Group, subgroups: tuple[Group, ...]) -> None:
        """Visit these subgroups of a group in turn from now on."""
        record = self._records.pop(whole)
        self._subgroups[whole.workload] = subgroups
        for subgroup in subgroups:
            keys = {case.key for case in subgroup.cases}
            self._records[subgroup] = record.part(keys, len(keys) / len(whole.cases))

    def next_visits(self, seconds_left: float = math.inf) -> list[Group]:
        """Return the groups of the next replicate, given the seconds left in the budget; empty if the run is done.

        Groups that miss most replicates come first; among equals the sweeps take turns, the cheapest group first.
        """
        estimate_spreads([*self._records.values()])
        to_come = self._to_come()
        wanted = [group for group, number in to_come.items() if number]
        first: dict[Workload, Group] = {}  # of each group, the subgroup that has had the fewest visits
        for group in sorted(wanted, key=lambda group: self._records[group].visits):
            first.setdefault(group.workload, group)
        wanted = [group for group in wanted if first[group.workload] == group]
        seconds_left -= fmean(self._start_seconds)
        cheapest_first = sorted(wanted, key=lambda group: to_come[group] * self._cost(group))
        chosen = []
        for group in sorted(
            sweeps_in_turn(cheapest_first),
            key=lambda group: min(self._records[group].visits, self._settings.replicates),
        ):
            cost = self._cost(group)
            if cost < seconds_left:
                seconds_left -= cost
                chosen.append(group)
        return chosen

    def most_blocks(self, chosen: Sequence[Group], seconds_left: float = math.inf) -> int:
        """Return how many blocks a case may have in a visit of the next replicate, until enough of them are quiet.

        The budget then lasts for one replicate more than ratios need. `chosen`: the groups of the replicate.
        """
        visited = [record for group in chosen if (record := self._records[group]).visits]
        if math.isinf(seconds_left):
            return MOST_BLOCKS
        if not visited:  # nobody knows yet what a visit takes
            return LEAST_BLOCKS
        replicates = max(ENOUGH_REPLICATES, self._settings.replicates)
        to_come = max(replicates + 1 - min(record.visits for record in visited), 1)
        long_calls = [record for record in visited if record.blocks <= MOST_BLOCKS]
        others = fmean(self._start_seconds) + sum(record.cost for record in visited if record not in long_calls)
        block_seconds = sum(record.cost / max(record.blocks, 1) for record in long_calls)
        affordable = (seconds_left / to_come - others) / max(block_seconds, 1e-9)
        return int(min(max(affordable, LEAST_BLOCKS), MOST_BLOCKS))

    def disturbed(self) -> list[Group]:
        """Return the groups with cases that have pulses, but too few quiet blocks for undisturbed ratios."""
        disturbed = {
            group.workload
            for group, record in self._records.items()
            if record.may_be_disturbed and record.visits >= MIN_QUIET_REPLICATES
        }
        return [group for group in self._groups if group.workload in disturbed]

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
        wide = {
            group.workload
            for group, record in self._records.items()
            if record.visits and is_wide(record, self._settings)
        }
        return [group for group in self._groups if group.workload in wide]

    def seconds_needed(self) -> float | None:
        """Return the expected seconds of all visits that are still wanted; None if none is."""
        estimate_spreads([*self._records.values()])
        return self._seconds() or None

    def _to_come(self) -> dict[Group, int]:
        """Return the number of visits that each subgroup still needs, by the spreads that were estimated last."""
        return {
            group: visits_to_come(self._records[group], self._settings)
            for whole in self._groups
            for group in self._subgroups[whole.workload]
        }

    def _seconds(self) -> float:
        """Return the expected seconds of all visits that are still wanted, and of the workers that make them."""
        to_come = self._to_come()
        visits = sum(self._cost(group) * number for group, number in to_come.items())
        replicates = Counter[Workload]()
        for group, number in to_come.items():
            replicates[group.workload] += number
        return max(replicates.values(), default=0) * fmean(self._start_seconds) + visits

    def _cost(self, group: Group) -> float:
        """Return the expected seconds of a visit: those of the group, or the usual ones."""
        if self._records[group].visits:
            return self._records[group].cost
        seconds_of_visits = [seconds for record in self._records.values() for seconds in record.seconds]
        return fmean(seconds_of_visits or [0.0])


def split(group: Group, call_seconds: Mapping[str, float], quiet_share: float | None) -> tuple[Group, ...]:
    """Return the subgroups of a group, the one of short calls first; the group itself if it need not be split.

    All cases of a visit have blocks as long as the longest call (`plan_turns`), and the state of a shared core flips
    every 0.1 to 3 ms: a block of 1.5 ms or more is seldom quiet, and one that looks quiet may have been disturbed in
    between. By simulation, a case of 0.45 ms beside one of 1.5 to 4 ms is known to 5% or not at all, and to 0.9% beside
    its reference alone. So the first visit of a group times its short calls alone if the core is shared, and from then
    on both subgroups take turns from replicate to replicate, each with the reference: a ratio still compares equal
    blocks. On a core that is always quiet nothing is split, since that would cost a quarter of the visits.

    `call_seconds`: of the cases that were timed, by their keys. `quiet_share`: of the pulses, None if there were none.
    """
    references = [case for case in group.cases if case.is_reference and case.key in call_seconds]
    workload = group.workload
    has_pulses = workload.threads == 1 and not (workload.workers or workload.waits_for_each_call)
    if not has_pulses or quiet_share is None or quiet_share >= QUIET_BEFORE_VISIT or not references:
        return (group,)
    [reference] = references
    longest = max(call_seconds.values())
    most = min(longest / MIN_LENGTH_RATIO, MAX_SHORT_SECONDS)
    short = {
        case.key
        for case in group.cases
        if max(call_seconds.get(case.key, longest), call_seconds[reference.key]) <= most and case != reference
    }
    if longest < MIN_LONGEST_SECONDS or not short:
        return (group,)
    return parted(group, [case for case in group.cases if case.key in short])


def parted(group: Group, chosen: Sequence[Case]) -> tuple[Group, Group]:
    """Return a group of the chosen cases and one of the others, each with the reference."""
    of_both = (
        tuple(case for case in group.cases if case.is_reference or (case in chosen) is is_chosen)
        for is_chosen in (True, False)
    )
    first, second = (replace(group, cases=cases) for cases in of_both)
    return first, second


def compared(group: Group) -> list[Case]:
    """Return the cases of a group that are compared with its reference."""
    return [case for case in group.cases if not case.is_reference]
