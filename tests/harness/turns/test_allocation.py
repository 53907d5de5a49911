"""Turns get the length with which a budget makes ratios most precise."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rnnbench.analysis.quiet import BINS, QuietBlocks
from rnnbench.analysis.replicate_times import Times
from rnnbench.harness.turns.allocation import (
    ASSUMED_BETWEEN,
    ENOUGH_BLOCKS,
    LEAST_TIMES,
    MOST_TIMES,
    Allocator,
    GroupCost,
    TurnsTaken,
    VisitCost,
    between,
    turns_taken,
)
from rnnbench.harness.turns.planner import Planner
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.doubles.stored import steady, window

USUAL = 0.04
VISIT = VisitCost(
    overhead=0.3,
    asked_seconds=USUAL,
    case_seconds=USUAL,
    wall_seconds=0.1,
    has_pulses=True,
    quiet_blocks=0,
    variance=1e-4,
    quiet_variance=1e-5,
)
ALLOCATOR = Allocator(USUAL, between_processes=0.006, between_visits=0.01)


def length(allocator: Allocator = ALLOCATOR, left: float = math.inf, **changes: float) -> float:
    """The length for a group whose visits were all like `VISIT`, but for some changes."""
    cost = GroupCost([replace(VISIT, **changes)] * 2)  # type: ignore[arg-type]
    return allocator.allocate({"group": cost}, {"group": 4}, left)["group"][0]


def test_the_length_for_all_blocks_is_that_of_kalibera_and_jones() -> None:
    noise = 1e-4 / 0.455 * USUAL  # the variance of turns of a second
    best = math.sqrt(noise * 0.3 / (2.5 * 0.01**2))
    assert length() == pytest.approx(best, rel=0.13)  # the lengths that are tried are 12% apart


def test_turns_are_longer_where_visits_cost_more_and_shorter_where_processes_differ() -> None:
    assert length(overhead=3.0) > length() > length(overhead=0.03)
    assert length(replace(ALLOCATOR, between_visits=0.03)) < length()
    assert length(variance=1e-2) <= MOST_TIMES * USUAL
    assert length(variance=1e-8) >= LEAST_TIMES * USUAL


def test_turns_are_long_enough_for_quiet_blocks_and_a_group_without_them_is_told() -> None:
    costs = {blocks: GroupCost([replace(VISIT, quiet_blocks=blocks)] * 2) for blocks in (0.2, 2.0, 40.0)}
    found = ALLOCATOR.allocate(costs, dict.fromkeys(costs, 1), math.inf)
    assert [is_quiet for _, is_quiet in found.values()] == [False, True, True]
    assert found[2.0][0] * 2.0 / USUAL >= ENOUGH_BLOCKS
    assert found[2.0][0] > found[40.0][0]


def test_a_budget_that_does_not_hold_the_visits_cuts_the_longest_turns() -> None:
    costs = {"noisy": GroupCost([replace(VISIT, variance=1e-2)] * 2), "steady": GroupCost([VISIT] * 2)}
    visits = {"noisy": 4, "steady": 4}
    free = ALLOCATOR.allocate(costs, visits, math.inf)
    cut = ALLOCATOR.allocate(costs, visits, 5.0)
    assert cut["noisy"][0] < free["noisy"][0]
    assert cut["steady"] == free["steady"]
    assert sum(4 * float(costs[name].seconds(length)) for name, (length, _) in cut.items()) <= 5.0
    assert ALLOCATOR.allocate(costs, visits, 0.0)["noisy"][0] == pytest.approx(LEAST_TIMES * USUAL)


def test_calls_that_are_longer_than_their_turns_cost_what_they_cost() -> None:
    cost = GroupCost([replace(VISIT, case_seconds=0.2, wall_seconds=0.5)])
    assert cost.seconds(0.02) == cost.seconds(0.2) == pytest.approx(0.8)
    assert cost.seconds(0.4) == pytest.approx(1.3)


def test_the_spread_between_processes_is_found_beside_the_noise_of_turns() -> None:
    rng = np.random.default_rng(1)
    samples = [[(float(rng.normal(0, 0.02) + rng.normal(0, 0.01)), 1e-4) for _ in range(3)] for _ in range(400)]
    assert between([*samples, [(0.0, 0.0)] * 3]) == pytest.approx(0.02, rel=0.1)
    assert between([]) == between([[(0.1, 0.0)]]) == ASSUMED_BETWEEN


@pytest.mark.parametrize("freedom", [2, 5, 20])
def test_the_variance_of_few_visits_counts_as_its_median_and_is_mixed_with_the_assumed_one(freedom: int) -> None:
    """By chi squared: half of all samples of so many degrees of freedom have less than their median."""
    values = np.linspace(-1, 1, freedom + 1)
    typical = values.var(ddof=1) / (stats.chi2.median(freedom) / freedom)
    whole = (4 * ASSUMED_BETWEEN**2 + freedom * (typical - 0.01)) / (4 + freedom)
    known = [(float(value), 0.01 * stats.chi2.median(freedom) / freedom) for value in values]
    assert between([known]) == pytest.approx(math.sqrt(whole), rel=0.01)


def test_a_visit_without_windows_has_no_turns() -> None:
    assert turns_taken([], USUAL, 0.1) is None


def test_the_turns_of_a_visit_are_known_by_halves_and_for_a_case() -> None:
    windows = [
        replace(window(case, 0, [seconds]), order=order, pulses=10, quiet_pulses=quiet_pulses)
        for case, order, seconds, quiet_pulses in (
            (small.case("vanilla"), 0, 2.0, 10),
            (small.reference_case(), 1, 1.0, 5),
            (small.reference_case(), 2, 1.2, 5),
            (small.case("vanilla"), 3, 3.0, 0),
        )
    ]
    turns = turns_taken(windows, USUAL, 8.0)
    assert turns is not None
    assert (turns.asked_seconds, turns.wall_seconds, turns.quiet_share) == (USUAL, 8.0, 0.5)
    assert turns.case_seconds == pytest.approx((2.0 + 3.0 + 1.0 + 1.2) / 2)
    medians = [{case: times.median for case, times in half.items()} for half in turns.halves]
    assert medians[0] == pytest.approx({LOOP: 2.0, REFERENCE: 1.2})
    assert medians[1] == pytest.approx({LOOP: 3.0, REFERENCE: 1.0})
    without = turns_taken([replace(each, pulses=0, quiet_pulses=0) for each in windows], USUAL, 8.0)
    assert without is not None
    assert without.quiet_share is None


def test_a_visit_shows_the_noise_of_its_turns_by_the_difference_of_its_halves() -> None:
    def half(seconds: float, of_quiet: float, blocks: int) -> dict[str, Times]:
        return {
            LOOP: replace(steady(seconds), quiet=quiet(of_quiet, blocks)),
            REFERENCE: replace(steady(1.0), quiet=quiet(1.0, 50)),
        }

    turns = TurnsTaken(USUAL, 0.05, 0.3, (half(math.e**0.2, math.e**0.1, 12), half(1.0, 1.0, 9)), 0.5)
    cost = VisitCost.of(1.0, turns, half(1.1, 1.0, 21), REFERENCE)
    assert (cost.overhead, cost.asked_seconds, cost.case_seconds, cost.wall_seconds) == (0.7, USUAL, 0.05, 0.3)
    assert (cost.quiet_blocks, cost.has_pulses) == (21, True)
    # The mean of both halves has half of the variance of one, and their difference twice as much.
    assert cost.variance == pytest.approx(0.2**2 / 4)
    assert cost.quiet_variance == pytest.approx(0.1**2 / 4)
    too_few = replace(turns, halves=(half(math.e**0.2, math.e**0.1, 12), half(1.0, 1.0, 2)), quiet_share=None)
    cost = VisitCost.of(0.2, too_few, half(1.1, 1.0, 14), REFERENCE)
    assert (cost.overhead, cost.has_pulses) == (0.0, False)
    assert cost.quiet_variance == cost.variance == pytest.approx(0.2**2 / 4)


GROUP = Group(small.workload(), (small.case("vanilla"), small.reference_case()))
LOOP, REFERENCE = (case.key for case in GROUP.cases)


def quiet(seconds: float, blocks: int) -> QuietBlocks:
    return QuietBlocks(np.full(BINS, np.log(seconds)), blocks, seconds)


def planned(blocks: int, overhead: float, start: float = 1.0, more: Sequence[Group] = ()) -> Planner:
    """A planner after two visits to a group, with so many quiet blocks and seconds beside their turns.

    `start`: seconds of a worker's; `more`: groups that were not visited.
    """
    planner = Planner([GROUP, *more], Settings(replicates=4, precision=0.001, max_replicates=50))
    planner.add_start(start)
    for ratio in (1.3, 1.31):
        times = {
            case: replace(steady(seconds), quiet=quiet(seconds, blocks))
            for case, seconds in {LOOP: ratio, REFERENCE: 1.0}.items()
        }
        halves = {LOOP: steady(1.01 * ratio), REFERENCE: steady(1.0)}, {LOOP: steady(ratio), REFERENCE: steady(1.0)}
        planner.add_visit(GROUP, overhead + 0.1, times, TurnsTaken(USUAL, USUAL, 0.1, halves, 0.5))
    return planner


def test_the_planner_gives_turns_their_length_after_two_visits_and_counts_what_they_cost() -> None:
    planner = planned(blocks=40, overhead=0.5)
    assert planner.case_seconds(GROUP) == pytest.approx(USUAL)
    assert planner.next_visits() == [GROUP]
    chosen = planner.case_seconds(GROUP)
    assert chosen != pytest.approx(USUAL)
    per_visit = 0.5 + 0.1 / USUAL * chosen
    seconds = planner.seconds_needed()
    assert seconds is not None
    visits = round((seconds) / (per_visit + 1.0))  # with the start of a worker
    assert seconds == pytest.approx(visits * (per_visit + 1.0))
    assert planner.disturbed() == []


def test_the_turns_get_what_the_starts_of_workers_and_other_groups_leave_of_the_budget() -> None:
    other = Group(
        small.workload(batch_size=9), (small.case("vanilla", batch_size=9), small.reference_case(batch_size=9))
    )

    def chosen(planner: Planner, left: float) -> float:
        planner.next_visits(left)
        return planner.case_seconds(GROUP)

    free = chosen(planned(40, 0.5), math.inf)
    assert chosen(planned(40, 0.5), 4.5) == free  # two visits of 0.8 s, and two starts
    assert chosen(planned(40, 0.5, start=2.0), 4.5) < free
    assert chosen(planned(40, 0.5), 8.0) == free
    assert chosen(planned(40, 0.5, more=[other]), 8.0) < free


def test_a_group_without_quiet_blocks_is_told_as_disturbed() -> None:
    planner = planned(blocks=0, overhead=0.5)
    planner.next_visits()
    assert planner.disturbed() == [GROUP]


def test_without_a_precision_turns_keep_their_length() -> None:
    planner = Planner([GROUP], Settings(replicates=4, precision=None))
    planner.add_start(1.0)
    times = {LOOP: steady(1.3), REFERENCE: steady(1.0)}
    for _ in range(2):
        planner.add_visit(GROUP, 0.6, times, TurnsTaken(USUAL, USUAL, 0.1, (times, times), None))
    planner.next_visits()
    assert planner.case_seconds(GROUP) == pytest.approx(USUAL)
