"""What differs from run to run: found again in simulated runs, and no reason for a verdict."""

import math

import numpy as np
import pytest

from rnnbench.analysis.location import Location, shift
from rnnbench.analysis.run_to_run import MAX_CASES, MAX_FREEDOM, MIN_CASES, scatter, with_run_to_run
from tests.validation import stored_simulated


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
    same = with_run_to_run(quiet)
    assert {(wide.value, wide.error) for wide in same.values()} == {(one.value, one.error) for one in quiet.values()}
    assert {wide.freedom for wide in same.values()} == {MAX_FREEDOM}
    differing = {case: Location(3 * location.value, 0.001, 5.0) for case, location in quiet.items()}
    wider = with_run_to_run(differing)
    assert {location.value for location in wider.values()} == {location.value for location in differing.values()}
    assert np.mean([location.error for location in wider.values()]) == pytest.approx(0.015, rel=0.5)
    assert all(location.freedom == MAX_FREEDOM for location in wider.values())


def test_cases_without_an_error_of_their_own_do_not_count() -> None:
    few = {str(case): Location(0.0, 0.01, 5.0) for case in range(MIN_CASES - 1)}
    assert with_run_to_run(few | {"single": Location(0.0, math.nan, 0.0)}) is None
    assert with_run_to_run(few | {"another": Location(0.0, 0.01, 5.0)}) is not None


def test_runs_that_differ_as_a_whole_make_hardly_any_false_verdict_and_hide_no_large_change() -> None:
    table = stored_simulated.error_rates(60, ["all at the margin", "one 50%"], [0.0])
    assert (table["pairs with a false verdict"] <= 0.05).all()
    assert table["changed cases: regressed"].max() > 0.9


def test_cases_that_differ_from_run_to_run_by_unlike_amounts_make_hardly_any_false_verdict() -> None:
    table = stored_simulated.error_rates(150, ["nothing differs"], [0.9])
    # 2 expected. It was 19% with half a degree of freedom for each case: 28 of 150.
    assert table["pairs with a false verdict"].item() <= 6 / 150


def test_a_shift_is_widened_with_both_degrees_of_freedom() -> None:
    moved = shift(Location(0.0, 0.003, 4.0), Location(0.0, 0.004, 4.0))
    assert moved.error == pytest.approx(0.005)
    assert moved.freedom == pytest.approx(0.005**4 / (0.003**4 / 4 + 0.004**4 / 4))
