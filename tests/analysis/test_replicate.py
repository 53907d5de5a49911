"""The times of a case, and the ratio of two cases that took turns on a machine with states."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.replicate import LEVELS, Times, log_quantiles, log_ratio, times, times_by_case
from tests.doubles import workload as small
from tests.doubles.stored import steady, window

CASE = small.case("vanilla")


def of_calls(seconds: np.ndarray) -> Times:
    return times([window(CASE, 0, seconds.tolist())])


def test_all_calls_of_all_windows_count_alike() -> None:
    few, many = [1.0, 5.0], [2.0] * 18  # of 20 calls one takes 1 s and 18 take 2 s
    found = times([window(CASE, 0, few), window(CASE, 0, many)])
    assert found.median == pytest.approx(2.0)
    assert found.mean == pytest.approx((1 + 5 + 18 * 2) / 20)
    assert np.exp(found.log_quantiles[[0, -1]]) == pytest.approx([1.0, 5.0])


def test_windows_are_told_apart_by_their_case() -> None:
    other = small.case("gru")
    found = times_by_case([window(CASE, 0, [1.0]), window(other, 0, [4.0]), window(CASE, 0, [3.0])])
    assert {case: of_case.mean for case, of_case in found.items()} == {CASE.key: 2.0, other.key: 4.0}
    assert found[CASE.key].log_quantiles.tolist() == times([window(CASE, 0, [1.0, 3.0])]).log_quantiles.tolist()


@given(st.floats(1e-6, 10.0), st.floats(1e-6, 10.0))
def test_the_ratio_of_steady_cases_is_that_of_their_times(first: float, second: float) -> None:
    assert log_ratio(steady(first), steady(second)) == pytest.approx(math.log(first / second), abs=1e-9)


def test_a_factor_on_all_calls_is_the_ratio_whatever_the_calls_look_like() -> None:
    calls = np.random.default_rng(1).lognormal(0, 1, 500)
    assert log_ratio(of_calls(1.3 * calls), of_calls(calls)) == pytest.approx(math.log(1.3))


@pytest.mark.parametrize(("share", "other"), [(0.5, 0.4), (0.3, 0.45), (0.9, 0.8)])
def test_sides_that_see_a_slow_state_unlike_often_are_compared_state_by_state(share: float, other: float) -> None:
    """Calls are in one of two states, 30% apart."""
    rng = np.random.default_rng(2)
    noise = lambda: rng.normal(0, 0.01, 2000)  # noqa: E731
    slow, slower = (np.where(rng.random(2000) < part, 0.26, 0.0) for part in (share, other))
    base, head = of_calls(np.exp(slow + noise())), of_calls(1.05 * np.exp(slower + noise()))
    error = abs(log_ratio(head, base) - math.log(1.05))
    assert error < 0.01
    assert error < abs(math.log(head.mean / base.mean) - math.log(1.05))


windows = st.tuples(st.integers(0, 3), st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=11), st.integers(1, 50))


@given(st.lists(windows, min_size=1, max_size=20))
def test_a_quantile_is_the_first_that_its_share_of_the_calls_does_not_exceed(drawn: list[Any]) -> None:
    known = sorted({group for group, _, _ in drawn})
    groups = np.array([known.index(group) for group, _, _ in drawn])
    sizes, points = [len(each) for _, each, _ in drawn], [value for _, each, _ in drawn for value in each]
    logs = log_quantiles(groups, np.array(sizes), np.array(points), np.array([calls for *_, calls in drawn]))
    for number in range(len(known)):
        shares = [
            (seconds, calls / len(each))
            for group, (_, each, calls) in zip(groups, drawn, strict=True)
            if group == number
            for seconds in each
        ]
        total = sum(share for _, share in shares)
        for level in (0, 24, 48):
            reached = [
                at
                for at, _ in shares
                if sum(share for time, share in shares if time <= at) >= (LEVELS[level] - 1e-9) * total
            ]
            assert logs[number, level] == pytest.approx(math.log(min(reached)))
