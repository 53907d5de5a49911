"""Groups whose calls differ much in length are split on a shared core, and their subgroups take turns."""

from collections.abc import Mapping

import pytest

from rnnbench.harness.turns.planner import Planner
from rnnbench.harness.turns.split import parted, split
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import steady

REFERENCE = small.reference_case()
SHORT, OTHER, LONG = small.case("vanilla", "hoisted"), small.case("combined"), small.case("vanilla")
GROUP = Group(small.workload(), (SHORT, LONG, OTHER, REFERENCE))
SECONDS = {SHORT: 4e-4, OTHER: 5e-4, LONG: 3e-3, REFERENCE: 3e-4}


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


def planner(replicates: int = 6) -> Planner:
    chosen = Planner([GROUP], Settings(replicates=replicates, precision=0.02))
    chosen.add_start(1.0)
    return chosen


def test_subgroups_take_turns_from_replicate_to_replicate_until_each_has_enough() -> None:
    chosen, counts = planner(), dict.fromkeys(GROUP.cases, 0)
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
    chosen, subgroups = planner(), parted(GROUP, [SHORT, OTHER])
    assert chosen.is_whole(GROUP)
    chosen.split(GROUP, subgroups)
    chosen.add_visit(GROUP, 1.0, {case.key: steady(SECONDS[case]) for case in subgroups[0].cases})
    assert [chosen._records[group].visits for group in subgroups] == [1, 0]
    assert not any(chosen.is_whole(group) for group in (GROUP, subgroups[0]))
    assert chosen.next_visits() == [subgroups[1]]


def test_the_time_left_counts_the_visits_of_both_subgroups() -> None:
    chosen = planner()
    visited(chosen, GROUP)
    chosen.split(GROUP, parted(GROUP, [SHORT, OTHER]))
    assert len(chosen.next_visits()) == 1
    # Five visits to three and five to two of the four cases, and the start of nine more workers.
    assert chosen.seconds_left() == pytest.approx(5 * 0.75 + 5 * 0.5 + 9.0)


def test_a_run_that_is_gone_on_with_keeps_its_subgroups() -> None:
    chosen = planner()
    visited(chosen, GROUP)
    first, second = parted(GROUP, [SHORT, OTHER])
    for group in (first, second, first):
        visited(chosen, group)
    assert {group: record.visits for group, record in chosen._records.items()} == {first: 3, second: 2}
    visited(chosen, GROUP)
    assert {group: record.visits for group, record in chosen._records.items()} == {first: 4, second: 3}


def test_leaving_out_a_group_leaves_out_its_subgroups() -> None:
    chosen = planner()
    chosen.split(GROUP, parted(GROUP, [SHORT, OTHER]))
    chosen.leave_out(GROUP)
    assert chosen.next_visits() == []
