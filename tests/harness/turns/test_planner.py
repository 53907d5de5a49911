"""Replicates go to groups with wide ratios, and the budget to groups that it can make precise."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from rnnbench.analysis.estimate import MIN_QUIET_REPLICATES, estimates_of
from rnnbench.analysis.quiet import BINS, QuietBlocks
from rnnbench.harness.turns.planner import (
    ENOUGH_REPLICATES,
    MIN_FOR_PRECISION,
    GroupRecord,
    Planner,
    parted,
    split,
    visits_to_come,
)
from rnnbench.harness.turns.schedule import LEAST_BLOCKS, MOST_BLOCKS
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import steady

GROUPS = [
    Group(
        small.workload(batch_size=size), (small.case("vanilla", batch_size=size), small.reference_case(batch_size=size))
    )
    for size in (1, 2, 3)
]
STEADY, NOISY, WILD = GROUPS
SPREAD = {STEADY: 0.001, NOISY: 0.02, WILD: 0.2}
REFERENCE = small.reference_case()
SHORT, OTHER, LONG = small.case("vanilla", "hoisted"), small.case("combined"), small.case("vanilla")
GROUP = Group(small.workload(), (SHORT, LONG, OTHER, REFERENCE))
SECONDS = {SHORT: 4e-4, OTHER: 5e-4, LONG: 3e-3, REFERENCE: 3e-4}


def planner(**settings: object) -> Planner:
    chosen = Planner(GROUPS, Settings(**({"replicates": 4, "max_replicates": 50} | settings)))  # type: ignore[arg-type]
    chosen.add_start(1.0)
    return chosen


def visit(chosen: Planner, group: Group, rng: random.Random, seconds: float = 0.5, blocks: int = 0) -> None:
    loop, reference = (case.key for case in group.cases)
    times = {loop: steady(math.exp(rng.gauss(0.7, SPREAD[group]))), reference: steady(1.0)}
    chosen.add_visit(group, seconds, {case: replace(each, blocks=blocks) for case, each in times.items()})


def run(chosen: Planner, seconds: float = 0.5, budget: float = math.inf) -> dict[Group, int]:
    """The visits of each group until the planner asks for no more."""
    rng, counts, spent = random.Random(1), dict.fromkeys(GROUPS, 0), 0.0
    while visits := chosen.next_visits(budget - spent):
        spent += 1.0 + seconds * len(visits)
        for group in visits:
            counts[group] += 1
            visit(chosen, group, rng, seconds)
    return counts


def test_a_steady_group_gets_the_fewest_replicates_and_noisy_ones_more() -> None:
    chosen = planner()
    counts = run(chosen)
    assert counts[STEADY] == MIN_FOR_PRECISION
    assert MIN_FOR_PRECISION < counts[NOISY] < 50
    assert counts[WILD] == 50
    assert chosen.missed() == [WILD]


def test_without_a_reference_the_ratios_are_to_the_case_that_was_fastest_first() -> None:
    cases = tuple(small.case(cell, reference="none") for cell in ("vanilla", "gru"))
    group = Group(cases[0].workload, cases)
    chosen = Planner([group], Settings(replicates=4, max_replicates=50))
    chosen.add_start(1.0)
    rng, visits = random.Random(2), 0
    while chosen.next_visits():
        chosen.add_visit(group, 0.5, {cases[0].key: steady(math.exp(rng.gauss(0.7, 0.02))), cases[1].key: steady(1.0)})
        visits += 1
    assert 4 < visits < 50
    assert chosen.missed() == []


def test_without_a_precision_every_group_gets_the_fewest() -> None:
    chosen = planner(precision=None)
    assert set(run(chosen).values()) == {4}
    assert chosen.missed() == []


def test_a_budget_goes_first_to_the_groups_that_it_can_make_precise() -> None:
    chosen = planner()
    counts = run(chosen, budget=25.0)
    assert counts[STEADY] == MIN_FOR_PRECISION
    assert WILD in chosen.missed()
    assert NOISY not in chosen.missed()


@pytest.mark.parametrize("quiet_share", [None, 1.0, 0.3])
@pytest.mark.parametrize("cases", [0, 1])
def test_a_group_without_a_living_case_or_without_its_reference_gets_the_fewest_replicates(
    cases: int, quiet_share: float | None
) -> None:
    chosen = planner(replicates=MIN_QUIET_REPLICATES)
    for _ in range(MIN_QUIET_REPLICATES):
        chosen.add_visit(WILD, 0.1, {case.key: steady(1.3) for case in WILD.cases[:cases]}, quiet_share)
    assert WILD not in chosen.next_visits()
    assert WILD not in chosen.missed()
    assert WILD not in chosen.disturbed()


def test_replicates_for_a_precision_that_nothing_reaches_are_known_at_once() -> None:
    record = GroupRecord(quiet_shares=[0.5])  # on a shared core, a minute of which bounds what can be known
    for _ in range(MIN_FOR_PRECISION):
        record.minutes.add(0)
        record.add(0.1, {"mine": steady(2.0), "base": steady(1.0)}, steady(1.0))
    record.spread = 0.01
    most = 10**12  # looking at each number would take days
    assert visits_to_come(record, Settings(precision=1e-9, max_replicates=most)) == most - record.visits
    needed = record.visits + visits_to_come(record, Settings(precision=0.02, max_replicates=most))
    assert record.half_width_after(needed, record.spread) <= math.log1p(0.02)
    assert record.half_width_after(needed - 1, record.spread) > math.log1p(0.02)


def test_time_left_counts_this_replicate_and_those_to_come() -> None:
    chosen, rng = planner(precision=None, replicates=3), random.Random(1)
    assert chosen.next_visits() == GROUPS
    assert chosen.seconds_left() is None
    visit(chosen, STEADY, rng)
    # Two groups remain now, three in each of two later replicates, and two workers start.
    assert chosen.seconds_left() == pytest.approx(0.5 * 8 + 2.0)
    assert chosen.seconds_left(3.0) == 3.0


def test_time_left_is_told_after_each_visit_without_another_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = planner()
    run(chosen)
    monkeypatch.setattr("rnnbench.harness.turns.planner.estimates_of", None)  # takes a second for 20,000 cases
    assert chosen.seconds_left() is not None


def test_a_case_that_has_failed_no_longer_counts() -> None:
    chosen = planner(replicates=2, precision=0.02)
    loop, reference = (case.key for case in STEADY.cases)
    for ratio in (0.1, 0.9):  # as wide as possible
        chosen.add_visit(STEADY, 0.5, {loop: steady(math.exp(ratio)), reference: steady(1.0)})
    assert STEADY in chosen.missed()
    chosen.add_visit(STEADY, 0.5, {reference: steady(1.0)})
    assert STEADY not in chosen.missed()
    assert set(chosen._records[STEADY].log_ratios) == {reference}


def test_a_budget_that_can_not_serve_all_serves_every_sweep() -> None:
    cheap = [Group(small.workload(batch_size=size), (small.case("gru", batch_size=size),), 0) for size in range(1, 9)]
    dear = [Group(small.workload(seq_len=size), (small.case("gru", seq_len=size),), 1) for size in range(91, 94)]
    chosen = Planner([*cheap, *dear], Settings(replicates=6, precision=None))
    chosen.add_start(1.0)
    for group in (*cheap, *dear):
        chosen.add_visit(group, 5.0 if group in dear else 1.0, {group.cases[0].key: steady(1.0)})
    assert {group.sweep for group in chosen.next_visits(9.0)} == {0, 1}
    assert chosen.next_visits(14.0) == [cheap[0], dear[0], cheap[1], dear[1]]


def test_what_is_known_of_some_cases_of_a_group_is_what_was_seen_of_them_and_their_share_of_the_time() -> None:
    whole, names = GroupRecord(basis="c"), ("a", "b", "c")
    for seconds in (2.0, 3.0):
        times = {name: steady(float(number)) for number, name in enumerate(names, 1)}
        whole.add(seconds, times, times["c"])
    some = whole.part({"a", "c"}, 0.5)
    assert some.seconds == [1.0, 1.5]
    assert set(some.log_ratios) == set(some.undisturbed) == {"a", "c"}
    assert some.log_ratios["a"] == pytest.approx([math.log(1 / 3)] * 2)
    assert some.basis == "c"


def test_the_planner_stops_at_the_width_that_a_report_shows() -> None:
    chosen = planner()
    run(chosen)
    samples = [chosen._records[group].log_ratios[group.cases[0].key] for group in GROUPS]
    chosen.missed()
    for group, shown in zip(GROUPS, estimates_of(samples), strict=True):
        assert chosen._records[group].half_width == pytest.approx((shown.upper - shown.lower) / 2)


@pytest.mark.parametrize(
    ("quiet_share", "blocks", "is_disturbed"), [(0.1, 2, True), (0.5, 40, False), (None, 0, False)]
)
def test_a_group_with_too_few_quiet_blocks_is_disturbed_if_pulses_could_have_told(
    quiet_share: float | None, blocks: int, is_disturbed: bool
) -> None:
    chosen = planner()
    loop, reference = (case.key for case in STEADY.cases)
    for ratio in (1.30, 1.31):
        times = {
            case: replace(steady(seconds), quiet=QuietBlocks(np.full(BINS, math.log(seconds)), blocks, seconds))
            for case, seconds in ((loop, ratio), (reference, 1.0))
        }
        chosen.add_visit(STEADY, 0.5, times, quiet_share)
    chosen.next_visits()
    assert (chosen.disturbed() == [STEADY]) is is_disturbed


@pytest.mark.parametrize(("quiet_share", "ends"), [(0.3, False), (0.99, True), (None, True)])
def test_replicates_of_one_minute_of_a_shared_core_alone_are_never_precise(
    quiet_share: float | None, ends: bool
) -> None:
    chosen = planner()
    loop, reference = (case.key for case in STEADY.cases)
    rng = random.Random(3)

    def visits(number: int, seconds: float) -> None:
        for _ in range(number):
            times = {loop: steady(math.exp(rng.gauss(0.9, 0.002))), reference: steady(1.0)}
            chosen.add_visit(STEADY, seconds, times, quiet_share)

    visits(8, 0.5)
    for other in (NOISY, WILD):
        chosen.leave_out(other)
    assert (chosen.missed() == []) is ends
    needed = chosen.seconds_needed()
    assert (needed is None) is ends
    if needed is not None:
        assert needed > 30.0  # as long as the root of the minutes says
        visits(20, 60.0)
        assert chosen.missed() == []


def test_visits_may_have_as_many_blocks_as_let_the_budget_last_for_enough_replicates() -> None:
    chosen = planner()
    assert chosen.most_blocks(GROUPS, 1000.0) == LEAST_BLOCKS
    assert chosen.most_blocks(GROUPS) == MOST_BLOCKS
    for group in GROUPS:
        visit(chosen, group, random.Random(1), seconds=3.0, blocks=LEAST_BLOCKS)
    assert chosen.most_blocks(GROUPS, 30.0) == LEAST_BLOCKS
    assert chosen.most_blocks(GROUPS, 10_000.0) == MOST_BLOCKS
    replicates = ENOUGH_REPLICATES  # one more than are needed, of which the first has been made
    half = replicates * (1.0 + 3 * 3.0 * MOST_BLOCKS / 2 / LEAST_BLOCKS)  # a worker's start and three visits
    assert chosen.most_blocks(GROUPS, half) == MOST_BLOCKS / 2
    visit(chosen, STEADY, random.Random(1), seconds=3.0, blocks=10 * MOST_BLOCKS)  # short calls take no longer
    assert chosen.most_blocks([STEADY], half) == MOST_BLOCKS


def by_key(seconds: Mapping[Case, float]) -> dict[str, float]:
    return {case.key: value for case, value in seconds.items()}


def test_short_calls_get_a_subgroup_with_the_reference() -> None:
    first, second = split(GROUP, by_key(SECONDS), 0.5)
    assert first.cases == (SHORT, OTHER, REFERENCE)
    assert second.cases == (LONG, REFERENCE)
    assert first.workload == second.workload == GROUP.workload


@pytest.mark.parametrize(("seconds", "is_short"), [(1.4e-3, True), (1.6e-3, False)])
def test_a_call_is_short_if_the_longest_takes_twice_as_long(seconds: float, is_short: bool) -> None:
    first, _ = split(GROUP, by_key(SECONDS | {OTHER: seconds}), 0.5)
    assert (OTHER in first.cases) is is_short


@pytest.mark.parametrize(
    ("seconds", "quiet_share"),
    [
        (SECONDS, 0.99),  # the core is always quiet
        (SECONDS, None),  # pulses can't tell
        (SECONDS | {LONG: 7e-4}, 0.5),  # not much longer
        (SECONDS | {REFERENCE: 2e-3}, 0.5),  # beside their reference, the short ones need long blocks, too
        ({case: value / 10 for case, value in SECONDS.items()}, 0.5),  # all blocks are short
        ({case: value * 10 for case, value in SECONDS.items()}, 0.5),  # no call fits a quiet moment
        ({case: value for case, value in SECONDS.items() if case != REFERENCE}, 0.5),  # it has failed
    ],
)
def test_other_groups_stay_whole(seconds: dict[Case, float], quiet_share: float | None) -> None:
    assert split(GROUP, by_key(seconds), quiet_share) == (GROUP,)


def visited(planner: Planner, group: Group) -> None:
    planner.add_visit(group, 1.0, {case.key: steady(SECONDS[case]) for case in group.cases})


def splitting_planner(replicates: int = 6) -> Planner:
    chosen = Planner([GROUP], Settings(replicates=replicates, precision=0.02))
    chosen.add_start(1.0)
    return chosen


def test_subgroups_take_turns_from_replicate_to_replicate_until_each_has_enough() -> None:
    chosen, counts = splitting_planner(), dict.fromkeys(GROUP.cases, 0)
    chosen.split(GROUP, parted(GROUP, [SHORT, OTHER]))
    while visits := chosen.next_visits():
        [group] = visits  # one subgroup of a group in each replicate
        for case in group.cases:
            counts[case] += 1
        visited(chosen, group)
        assert counts[REFERENCE] < 100
    assert counts == {SHORT: 6, OTHER: 6, LONG: 6, REFERENCE: 12}
    assert len(chosen.ratios()) == 3


def test_a_group_that_is_split_in_its_first_visit_has_timed_the_first_subgroup() -> None:
    chosen, subgroups = splitting_planner(), parted(GROUP, [SHORT, OTHER])
    assert chosen.is_whole(GROUP)
    chosen.split(GROUP, subgroups)
    chosen.add_visit(GROUP, 1.0, {case.key: steady(SECONDS[case]) for case in subgroups[0].cases})
    assert [chosen._records[group].visits for group in subgroups] == [1, 0]
    assert not any(chosen.is_whole(group) for group in (GROUP, subgroups[0]))
    assert chosen.next_visits() == [subgroups[1]]


def test_the_time_left_counts_the_visits_of_both_subgroups() -> None:
    chosen = splitting_planner()
    visited(chosen, GROUP)
    chosen.split(GROUP, parted(GROUP, [SHORT, OTHER]))
    assert len(chosen.next_visits()) == 1
    # Five visits to three and five to two of the four cases, and the start of nine more workers.
    assert chosen.seconds_left() == pytest.approx(5 * 0.75 + 5 * 0.5 + 9.0)


def test_a_run_that_is_gone_on_with_keeps_its_subgroups() -> None:
    chosen = splitting_planner()
    visited(chosen, GROUP)
    first, second = parted(GROUP, [SHORT, OTHER])
    for group in (first, second, first):
        visited(chosen, group)
    assert {group: record.visits for group, record in chosen._records.items()} == {first: 3, second: 2}
    visited(chosen, GROUP)
    assert {group: record.visits for group, record in chosen._records.items()} == {first: 4, second: 3}


def test_leaving_out_a_group_leaves_out_its_subgroups() -> None:
    chosen = splitting_planner()
    chosen.split(GROUP, parted(GROUP, [SHORT, OTHER]))
    chosen.leave_out(GROUP)
    assert chosen.next_visits() == []
