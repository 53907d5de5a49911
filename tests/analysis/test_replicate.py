"""The two times of a case, from windows with known calls."""

import pytest

from rnnbench.analysis.replicate import times
from tests.doubles import workload as small
from tests.doubles.stored import window

CASE = small.case("vanilla")


def test_all_calls_of_all_windows_count_alike() -> None:
    few, many = [1.0, 5.0], [2.0] * 18  # of 20 calls one takes 1 s and 18 take 2 s
    found = times([window(CASE, 0, few), window(CASE, 0, many)])
    assert found.low == 2.0
    assert found.mean == pytest.approx((1 + 5 + 18 * 2) / 20)


def test_the_low_time_is_that_of_the_fastest_tenth() -> None:
    fast, slow = [1.0] * 3, [4.0] * 17
    found = times([window(CASE, 0, fast), window(CASE, 0, slow)])
    assert found.low == 1.0
    assert found.mean == pytest.approx(71 / 20)
