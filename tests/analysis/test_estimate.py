import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench.analysis.estimate import estimate, signed_rank_cut, signed_rank_interval, walsh_averages

values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)


@given(values)
def test_the_interval_holds_the_estimate(sample: list[float]) -> None:
    found = estimate(sample)
    assert min(sample) <= found.value <= max(sample)
    if len(sample) > 1:
        assert found.low <= found.value <= found.high


@given(values, st.floats(-100, 100))
def test_a_shift_of_all_values_shifts_the_estimate(sample: list[float], shift: float) -> None:
    assert estimate([value + shift for value in sample]).value == pytest.approx(
        estimate(sample).value + shift, abs=1e-6
    )


def test_one_value_says_nothing_of_the_spread() -> None:
    found = estimate([2.0])
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_one_wild_replicate_hardly_moves_the_estimate() -> None:
    assert estimate([1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 9.0]).value == pytest.approx(1.0, abs=0.02)


def test_walsh_averages_are_all_pairwise_means() -> None:
    assert walsh_averages(np.array([1.0, 3.0, 5.0])).tolist() == [1, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("n", [6, 7, 9, 10, 16, 25])
def test_the_interval_holds_just_the_shifts_that_scipys_signed_rank_test_keeps(n: int) -> None:
    sample = np.random.default_rng(n).normal(size=n)
    found = signed_rank_interval(sample.tolist())
    for shift, inside in ((found.low + 1e-9, True), (found.high - 1e-9, True), (found.low - 1e-9, False)):
        p = stats.wilcoxon(sample - shift, method="exact").pvalue
        assert (p > 0.05) == inside


def test_with_six_values_the_signed_rank_interval_is_their_range() -> None:
    found = signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    assert (found.low, found.high) == (1.0, 7.0)


def test_the_normal_approximation_takes_over_smoothly() -> None:
    assert signed_rank_cut(51, 0.05) - signed_rank_cut(50, 0.05) < 30


@pytest.mark.parametrize("n", [3, 5, 6, 8, 12, 20])
def test_the_interval_covers_the_truth_at_least_95_times_in_100(n: int) -> None:
    rng = np.random.default_rng(n)
    inside = [found.low <= 0 <= found.high for found in (estimate(rng.normal(size=n).tolist()) for _ in range(2000))]
    assert np.mean(inside) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)
