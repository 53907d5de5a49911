"""Means, and variances that are only raised: values computed by hand, calibration by simulation, and edge cases."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench.analysis.estimate import (
    BETWEEN_RUNS,
    BETWEEN_UNLIKE,
    SHARED_LEAN,
    Estimate,
    Location,
    as_ratio,
    drift,
    estimate,
    estimate_columns,
    estimates,
    estimates_of,
    locations,
    minus,
    quiet_estimates_of,
    shift,
    with_runs,
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


@pytest.mark.parametrize("n", [3, 5, 6, 8, 12, 20])
def test_the_interval_covers_the_truth_at_least_95_times_in_100(n: int) -> None:
    rng = np.random.default_rng(n)
    inside = [
        interval.lower <= 0 <= interval.upper
        for interval in (estimate(rng.normal(size=n).tolist()) for _ in range(2000))
    ]
    assert np.mean(inside) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)


def one_by_one(sample: list[float]) -> tuple[float, float]:
    """The mean and half-width of one sample, computed directly from the definition."""
    if len(sample) == 1:
        return sample[0], math.nan
    return float(np.mean(sample)), float(stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample))


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=14), min_size=1, max_size=8), st.randoms())
def test_many_samples_at_once_have_the_values_that_each_has_alone(samples: list[list[float]], shuffle) -> None:
    groups = [number for number, sample in enumerate(samples) for _ in sample]
    values = [value for sample in samples for value in sample]
    order = list(range(len(values)))
    shuffle.shuffle(order)
    together = estimates(np.array(groups)[order], np.array(values)[order])
    alone = np.array([one_by_one(sample) for sample in samples])
    np.testing.assert_allclose(together[:, 0], alone[:, 0], rtol=1e-12, atol=1e-9)
    assert np.isnan(together[:, 1]).tolist() == [len(sample) == 1 for sample in samples]
    if len(samples) == 1 and len(samples[0]) > 1:
        np.testing.assert_allclose(together[:, 2] - together[:, 0], alone[:, 1], rtol=1e-6, atol=1e-9)


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
    assert together[:, 1] == pytest.approx(samples.mean(axis=1) - halves)
    assert together[:, 2] == pytest.approx(samples.mean(axis=1) + halves)


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
    base, head = rng.normal(0, 0.01, 4), rng.normal(0.03, 0.03, 3)
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


def test_only_replicates_with_quiet_blocks_count_for_an_undisturbed_value_and_two_are_needed() -> None:
    known, single = quiet_estimates_of([[(0.1, 40), (math.nan, 0), (0.3, 6)], [(0.1, 40), (math.nan, 0)]])
    assert known == estimate([0.1, 0.3])
    assert math.isnan(single.value)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(1e-4, 0.1))
def test_the_interval_of_a_ratio_is_wider_the_farther_it_is_from_one(logs: list[float], half: float) -> None:
    values = np.array(logs)
    known = with_runs(np.column_stack([values, values - half, values + half]))
    widths = (known[:, 2] - known[:, 1]) / 2
    assert known[:, 0].tolist() == logs
    assert widths == pytest.approx(np.sqrt(half**2 + BETWEEN_RUNS**2 + (BETWEEN_UNLIKE * values) ** 2))
    assert known[:, 2] - values == pytest.approx(values - known[:, 1])


def test_a_references_ratio_to_itself_has_no_width_and_what_has_no_interval_gets_none() -> None:
    known = with_runs(np.array([[0.0, 0.0, 0.0], [0.7, math.nan, math.nan]]))
    assert known[0].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(known[1, 1:]).all()


def test_what_other_minutes_would_change_is_nothing_for_alike_modules_and_falls_with_the_root_of_the_minutes() -> None:
    one, four, many = (float(drift(math.log(2.4), 0.3, minutes)) for minutes in (1.0, 4.0, 400.0))
    assert 0.06 < one < 0.09
    assert one / 2 == pytest.approx(four, rel=0.15)
    assert one / 20 == pytest.approx(many, rel=0.15)
    assert float(drift(0.0, 0.3, 1.0)) == 0.0
    assert float(drift(math.log(2.4), 0.0, 1.0)) > one / 2  # one minute that was never quiet says little of the next


@pytest.mark.parametrize("minutes", [1, 4])
@pytest.mark.parametrize("ratio", [1.1, 2.4, 12.0])
def test_runs_in_other_minutes_of_a_shared_core_hold_each_others_ratio(ratio: float, minutes: int) -> None:
    """The share that a minute has wanders, most minutes are either quiet or shared, and replicates have heavy tails."""
    rng = np.random.default_rng(1)
    runs = 1000
    wandering = np.zeros((2 * runs, minutes))
    wandering[:, 0] = 2 * rng.standard_normal(2 * runs)
    for minute in range(1, minutes):
        wandering[:, minute] = 0.3 * wandering[:, minute - 1] + 1.9 * rng.standard_normal(2 * runs)
    shares = np.repeat(1 / (1 + np.exp(-wandering)), 6 // minutes + 1, axis=1)
    noise = 0.01 * rng.standard_t(4, shares.shape)
    logs = math.log(ratio) * (1 - SHARED_LEAN * (1 - shares)) + noise
    values = estimates(np.repeat(np.arange(2 * runs), shares.shape[1]), logs.ravel())
    drifts = drift(values[:, 0], shares.mean(axis=1), np.full(2 * runs, float(minutes)))
    known = with_runs(values, drifts)
    halves = known[:, 2] - known[:, 0]
    apart = np.abs(known[:runs, 0] - known[runs:, 0])
    assert np.mean(apart <= np.hypot(halves[:runs], halves[runs:])) > 0.92
    assert np.mean(apart <= np.hypot(*np.split(values[:, 2] - values[:, 0], 2))) < 0.9 or ratio < 2
