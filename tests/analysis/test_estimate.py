"""Trimmed means and moderated variances: values computed by hand, calibration by simulation, and edge cases."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench.analysis.estimate import (
    BETWEEN_UNLIKE,
    BLOCK_SPREAD,
    Estimate,
    Location,
    as_ratio,
    estimate,
    estimate_columns,
    estimates,
    estimates_of,
    locations,
    minus,
    shift,
    signed_rank_cut,
    undisturbed_estimates_of,
    widened_by_runs,
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


def test_one_value_has_a_centre_without_an_error_which_rejects_nothing() -> None:
    (single,) = locations([[0.3]])
    assert (single.value, single.freedom, single.p_above(0.0), single.p_below(0.0)) == (0.3, 0, 1.0, 1.0)
    assert math.isnan(single.interval().lower)


@pytest.mark.parametrize("n", [10, 16, 25])
def test_the_interval_holds_just_the_shifts_that_scipys_signed_rank_test_keeps(n: int) -> None:
    sample = np.random.default_rng(n).normal(size=n)
    interval = estimate(sample.tolist())
    for moved, inside in ((interval.lower + 1e-9, True), (interval.upper - 1e-9, True), (interval.lower - 1e-9, False)):
        p = stats.wilcoxon(sample - moved, method="exact").pvalue
        assert (p > 0.05) == inside


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


TEN = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 5.0]


def test_one_spoilt_value_of_ten_does_not_move_the_centre() -> None:
    (centre,) = locations([TEN])
    assert centre.value == pytest.approx(np.mean([0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09]))
    winsorized = [0.02, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.09]
    assert centre.error == pytest.approx(math.sqrt(np.var(winsorized, ddof=1) * 9 / (8 * 7)))
    assert centre.freedom == 7


@pytest.mark.parametrize(("number", "cut"), [(5, 1), (9, 1), (20, 2), (31, 3)])
def test_a_tenth_is_trimmed_at_each_end_but_one_value_at_least(number: int, cut: int) -> None:
    sample = np.random.default_rng(number).normal(size=number) ** 3
    (centre,) = locations([sample])
    assert centre.value == pytest.approx(np.sort(sample)[cut:-cut].mean())
    assert centre.freedom == number - 2 * cut - 1


def test_equal_values_beside_noisy_ones_are_equal_by_chance() -> None:
    noise = [[0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08], [0.0, 0.1] * 4, [0.0, 0.02, 0.05, 0.06, 0.1, 0, 0, 0.1]]
    equal, *others = locations([[0.05] * 8, *noise])
    assert 0.3 * others[0].error < equal.error <= others[0].error
    assert equal.p_above(0.04) > 0.01
    assert others == locations(noise)


@pytest.mark.parametrize("replicates", [8, 15, 30])
@pytest.mark.parametrize("spread", ["equal", "unlike"])
def test_p_values_of_true_hypotheses_are_near_uniform_far_out_in_the_tail(replicates: int, spread: str) -> None:
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(400):
        sizes = np.full(24, 0.01) if spread == "equal" else 0.01 * np.exp(0.35 * rng.standard_normal(24))
        samples = rng.standard_normal((24, replicates)) * sizes[:, None]
        p_values += [centre.p_above(0.0) for centre in locations(list(samples))]
    # 9,600 p-values: 48 below 0.005 and 10 below 0.001 are expected at most.
    assert sum(p < 0.005 for p in p_values) <= 70
    assert sum(p < 0.001 for p in p_values) <= 20
    assert np.mean([p < 0.5 for p in p_values]) == pytest.approx(0.5, abs=0.03)


def test_the_shift_between_two_samples_is_welchs() -> None:
    rng = np.random.default_rng(5)
    base, head = rng.normal(0, 0.01, 4), rng.normal(0.03, 0.03, 3)  # too few to be trimmed
    moved = shift(locations([base.tolist()])[0], locations([head.tolist()])[0])
    expected = stats.ttest_ind(head, base, equal_var=False, alternative="greater")
    assert moved.value == pytest.approx(head.mean() - base.mean())
    assert moved.p_above(0.0) == pytest.approx(expected.pvalue)


def test_a_variance_that_is_given_makes_an_error_larger_and_surer() -> None:
    wider = Location(0.1, 0.03, 4.0).plus(0.04**2)
    assert wider.value == 0.1
    assert wider.error == pytest.approx(0.05)
    assert wider.freedom == pytest.approx(4.0 * (0.05 / 0.03) ** 4)
    assert Location(0.1, 0.0, 4.0).plus(0.04**2) == Location(0.1, 0.04, math.inf)
    assert Location(0.1, 0.03, 4.0).plus(0.04**2, 0.0).p_above(-9.0) == 1.0


def test_what_is_left_of_a_whole_has_an_interval_of_all_that_was_measured() -> None:
    rest = minus(Estimate(10.0, 7.0, 14.0), [Estimate(2.0, 1.0, 6.0), Estimate(3.0, 0.0, 3.5)])
    low, high = math.sqrt(3**2 + 4**2 + 0.5**2), math.sqrt(4**2 + 1**2 + 3**2)
    assert astuple(rest) == pytest.approx((5.0, 5.0 - low, 5.0 + high))
    assert Estimate(10.0, 7.0, 14.0).at(2.0) == Estimate(2.0, -1.0, 6.0)
    assert estimate_columns("x", rest) == {"x": rest.value, "x_low": rest.lower, "x_high": rest.upper}
    assert estimate_columns("x", None) == {"x": None, "x_low": None, "x_high": None}


def test_a_value_of_few_quiet_blocks_counts_for_less() -> None:
    values = [(0.0, 40), (0.001, 40), (0.05, 1)]
    [known] = undisturbed_estimates_of([values])
    spread = np.var([value for value, _ in values], ddof=1) - (BLOCK_SPREAD / 40) ** 2
    weights = [1 / (spread + (BLOCK_SPREAD / blocks) ** 2) for _, blocks in values]
    assert known.value == pytest.approx(np.average([value for value, _ in values], weights=weights))
    assert known.value < 0.01  # the mean is 0.017


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(1e-4, 0.1))
def test_the_interval_of_an_undisturbed_ratio_is_wider_the_farther_it_is_from_one(
    logs: list[float], half: float
) -> None:
    values = np.array(logs)
    known = widened_by_runs(np.column_stack([values, values - half, values + half]))
    widths = (known[:, 2] - known[:, 1]) / 2
    assert known[:, 0].tolist() == logs
    assert widths == pytest.approx(np.hypot(half, BETWEEN_UNLIKE * values))
    assert known[:, 2] - values == pytest.approx(values - known[:, 1])


def test_a_references_ratio_to_itself_has_no_width_and_what_has_no_interval_gets_none() -> None:
    known = widened_by_runs(np.array([[0.0, 0.0, 0.0], [0.7, math.nan, math.nan]]))
    assert known[0].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(known[1, 1:]).all()
