import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench.analysis.estimate import (
    as_ratio,
    estimate,
    estimates,
    estimates_of,
    signed_rank_cut,
    signed_rank_interval,
    t_interval,
    t_quantile,
    walsh_averages,
)
from rnnbench.analysis.variances import raised

values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)


@given(values)
def test_the_interval_holds_the_estimate(sample: list[float]) -> None:
    estimated = estimate(sample)
    assert min(sample) <= estimated.value <= max(sample)
    if len(sample) > 1:
        assert estimated.lower <= estimated.value <= estimated.upper


@given(st.lists(st.floats(-735, 735), min_size=2, max_size=12))  # logarithms of all times that a run may hold
def test_any_ratio_is_a_number_whose_interval_has_a_width(logs: list[float]) -> None:
    estimated = as_ratio(estimate(logs))
    assert 0 < estimated.lower <= estimated.value <= estimated.upper
    assert math.isfinite((estimated.upper / estimated.lower) ** 0.5)


@given(values, st.floats(-100, 100))
def test_a_shift_of_all_values_shifts_the_estimate(sample: list[float], shift: float) -> None:
    assert estimate([value + shift for value in sample]).value == pytest.approx(
        estimate(sample).value + shift, abs=1e-6
    )


def test_one_value_says_nothing_of_the_spread() -> None:
    estimated = estimate([2.0])
    assert estimated.value == 2.0
    assert math.isnan(estimated.lower)
    assert math.isnan(estimated.upper)


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
    interval = signed_rank_interval(sample.tolist())
    for shift, inside in ((interval.lower + 1e-9, True), (interval.upper - 1e-9, True), (interval.lower - 1e-9, False)):
        p = stats.wilcoxon(sample - shift, method="exact").pvalue
        assert (p > 0.05) == inside


def test_with_six_values_the_signed_rank_interval_is_their_range() -> None:
    interval = signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    assert (interval.lower, interval.upper) == (1.0, 7.0)


def test_the_normal_approximation_takes_over_smoothly() -> None:
    assert signed_rank_cut(51, 0.05) - signed_rank_cut(50, 0.05) < 30


@pytest.mark.parametrize("n", [3, 5, 6, 8, 12, 20])
def test_the_interval_covers_the_truth_at_least_95_times_in_100(n: int) -> None:
    rng = np.random.default_rng(n)
    inside = [
        interval.lower <= 0 <= interval.upper
        for interval in (estimate(rng.normal(size=n).tolist()) for _ in range(2000))
    ]
    assert np.mean(inside) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)


def one_by_one(sample: list[float]) -> list[float]:
    """The estimate of one sample, computed directly from the definition."""
    values, n = np.array(sample), len(sample)
    means = np.sort([(first + second) / 2 for index, first in enumerate(values) for second in values[index:]])
    value = float(np.median(means))
    if n >= 10:
        cut = max(0, signed_rank_cut(n, 1 - 0.95))
        return [value, float(means[cut]), float(means[-1 - cut])]
    if n == 1:
        return [value, math.nan, math.nan]
    half = float(stats.t.ppf((1 + 0.95) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return [value, min(value, float(values.mean()) - half), max(value, float(values.mean()) + half)]


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=14), min_size=1, max_size=8), st.randoms())
def test_many_samples_at_once_have_the_values_that_each_has_alone(samples: list[list[float]], shuffle) -> None:
    groups = [number for number, sample in enumerate(samples) for _ in sample]
    values = [value for sample in samples for value in sample]
    order = list(range(len(values)))
    shuffle.shuffle(order)
    together = estimates(np.array(groups)[order], np.array(values)[order])
    alone = np.array([one_by_one(sample) for sample in samples])
    np.testing.assert_allclose(together[:, 0], alone[:, 0], rtol=1e-12, atol=1e-12)
    large = [len(sample) >= 10 for sample in samples]
    np.testing.assert_allclose(together[large], alone[large], rtol=1e-12, atol=1e-12)
    assert np.isnan(together[:, 1]).tolist() == [len(sample) == 1 for sample in samples]


def test_a_sample_without_values_is_not_known_and_does_not_move_the_others() -> None:
    first, last = [1.0, 2.0, 4.0], [3.0, 3.5]
    known = estimates_of([first, last])
    assert estimates_of([first, (), last, ()])[::2] == known
    assert all(math.isnan(estimates_of([first, (), last, ()])[index].value) for index in (1, 3))
    assert all(math.isnan(empty.value) for empty in estimates_of([(), ()]))
    assert estimates_of([]) == []


def test_the_variances_of_small_samples_borrow_from_each_other() -> None:
    samples = np.random.default_rng(4).normal(0, 0.01, (24, 6))
    together = estimates(np.repeat(np.arange(24), 6), samples.ravel())
    variances, freedom = raised(samples.var(axis=1, ddof=1), np.full(24, 5.0))
    assert set(freedom) == {10.0}
    halves = stats.t.ppf(0.975, 10) * np.sqrt(variances / 6)
    assert together[:, 1] == pytest.approx(np.minimum(together[:, 0], samples.mean(axis=1) - halves))
    assert together[:, 2] == pytest.approx(np.maximum(together[:, 0], samples.mean(axis=1) + halves))


@pytest.mark.parametrize("number", [9, 10])
def test_one_sample_is_estimated_as_many_are(number: int) -> None:
    sample = np.random.default_rng(number).normal(size=number).tolist()
    expected = one_by_one(sample)
    assert astuple(estimate(sample)) == pytest.approx(expected)
    assert astuple(t_interval(sample[:9])) == pytest.approx(one_by_one(sample[:9]))
    few = estimate(sample, confidence=0.5)
    assert [few.value, few.lower, few.upper] == estimates(np.zeros(number, dtype=int), np.array(sample), 0.5)[
        0
    ].tolist()
    assert estimate(sample).lower < few.lower < few.value < few.upper < estimate(sample).upper


def test_only_as_many_are_estimated_at_once_as_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def watched(samples: np.ndarray) -> np.ndarray:
        shapes.append(samples.shape)
        return walsh_averages(samples)

    monkeypatch.setattr("rnnbench.analysis.estimate.MAX_PAIRS_AT_ONCE", 10 * 12**2)
    monkeypatch.setattr("rnnbench.analysis.estimate.walsh_averages", watched)
    estimates(np.repeat(np.arange(30), 12), np.random.default_rng(2).normal(size=360))
    assert shapes == [(10, 12)] * 3


def test_many_cases_of_many_replicates_are_estimated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=(30, 12))
    groups = np.repeat(np.arange(30), 12)
    whole = estimates(groups, values.ravel())
    monkeypatch.setattr("rnnbench.analysis.estimate.MAX_PAIRS_AT_ONCE", 1000)
    np.testing.assert_array_equal(estimates(groups, values.ravel()), whole)


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 9, 400, math.inf])
@pytest.mark.parametrize("probability", [0.01, 0.5, 0.975, 0.9999])
def test_students_quantile_is_scipys(probability: float, freedom: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-12, abs=1e-12)
