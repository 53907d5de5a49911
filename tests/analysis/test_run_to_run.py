"""What differs from run to run: found again in simulated runs, and no reason for a verdict."""

import math

import numpy as np
import pytest

from rnnbench.analysis.location import Location, locations, shift
from rnnbench.analysis.run_to_run import MAX_CASES, MIN_CASES, scatter, with_run_to_run
from rnnbench.analysis.stored import LocatedRatios, changes_between

MARGIN = 0.025


@pytest.mark.parametrize("cases", [6, 7, 24, 25])
def test_the_scatter_of_equal_cases_is_their_standard_deviation(cases: int) -> None:
    rng = np.random.default_rng(cases)
    assert np.mean([scatter(rng.standard_normal(cases)) for _ in range(2000)]) == pytest.approx(1.0, abs=0.05)


def test_the_scatter_is_that_of_equal_cases_even_if_half_of_all_have_changed() -> None:
    rng, odd = np.random.default_rng(1), np.arange(24) % 2
    assert 1.0 < np.median([scatter(rng.standard_normal(24) + 100 * odd) for _ in range(300)]) < 2.5


def test_of_very_many_cases_some_are_enough() -> None:
    values = np.random.default_rng(2).standard_normal(40 * MAX_CASES)
    assert scatter(values) == pytest.approx(1.0, abs=0.1)


def test_only_what_goes_beyond_the_cases_own_errors_is_added() -> None:
    rng = np.random.default_rng(3)
    quiet = {str(case): Location(value, 0.01, 5.0) for case, value in enumerate(rng.normal(0, 0.005, 24))}
    assert with_run_to_run(quiet) == quiet
    differing = {case: Location(3 * location.value, 0.001, 5.0) for case, location in quiet.items()}
    wider = with_run_to_run(differing)
    assert wider is not None
    assert {location.value for location in wider.values()} == {location.value for location in differing.values()}
    assert np.mean([location.error for location in wider.values()]) == pytest.approx(0.015, rel=0.5)
    assert all(location.freedom < 13 for location in wider.values())


def test_cases_without_an_error_of_their_own_do_not_count() -> None:
    few = {str(case): Location(0.0, 0.01, 5.0) for case in range(MIN_CASES - 1)}
    assert with_run_to_run(few | {"single": Location(0.0, math.nan, 0.0)}) is None
    assert with_run_to_run(few | {"another": Location(0.0, 0.01, 5.0)}) is not None


@pytest.mark.parametrize("true", [0.0, MARGIN])
def test_runs_that_differ_as_a_whole_make_hardly_any_false_verdict(true: float) -> None:
    rng, called = np.random.default_rng(4), 0
    for _ in range(200):
        base, head = run(rng, np.zeros(24)), run(rng, np.full(24, math.log1p(true)))
        judged = changes_between(base, head, dict.fromkeys(base, MARGIN))
        called += any(case.verdict in ("regressed", "improved") for case in judged.values())
    assert called <= 6  # 1% of 200 is 2; seven or more happen once in 200 such tests


def test_a_large_change_of_half_of_the_cases_is_found_all_the_same() -> None:
    rng, odd = np.random.default_rng(5), np.arange(24) % 2
    base, head = run(rng, np.zeros(24)), run(rng, 0.15 * odd)
    judged = changes_between(base, head, dict.fromkeys(base, MARGIN))
    found = [judged[str(case)].verdict == "regressed" for case in range(24)]
    assert sum(found[1::2]) >= 10
    assert sum(found[::2]) == 0


def run(rng: np.random.Generator, true: np.ndarray) -> LocatedRatios:
    """A run of six replicates that differs from the next by 0.8% in each case."""
    logs = true[:, None] + rng.normal(0, 0.008 / math.sqrt(2), (24, 1)) + rng.normal(0, 0.006, (24, 6))
    return {str(case): (ratio, ratio) for case, ratio in enumerate(locations(list(logs)))}


def test_a_shift_is_widened_with_both_degrees_of_freedom() -> None:
    moved = shift(Location(0.0, 0.003, 4.0), Location(0.0, 0.004, 4.0))
    assert moved.error == pytest.approx(0.005)
    assert moved.freedom == pytest.approx(0.005**4 / (0.003**4 / 4 + 0.004**4 / 4))
