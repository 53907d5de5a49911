import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.estimate import as_ratio
from rnnbench.analysis.history.change_points import StraightLine, WeightedPoints, cost, drifts, segments, without_spikes
from rnnbench.analysis.location import Location

NOISE = np.random.default_rng(3).normal(0, 0.01, 24)
WEIGHTS = np.full(24, 1e4)


@pytest.mark.parametrize("at", [2, 9, 22])
def test_a_step_is_found_at_its_place(at: int) -> None:
    assert segments(NOISE + 0.1 * (np.arange(24) >= at), WEIGHTS) == [0, at]


def test_two_steps_are_found_and_noise_is_none() -> None:
    index = np.arange(24)
    assert segments(NOISE + 0.1 * ((index >= 8) & (index < 16)), WEIGHTS) == [0, 8, 16]
    assert segments(NOISE, WEIGHTS) == [0]


def test_points_that_are_known_better_count_for_more() -> None:
    step = NOISE + 0.03 * (np.arange(24) >= 12)
    assert segments(step, WEIGHTS) == [0, 12]
    assert segments(step, WEIGHTS / 100) == [0]


def test_the_fewest_points_with_a_change_are_two_and_two() -> None:
    weights = np.full(4, 1e4)
    assert segments(np.array([0.0, 0.0, 1.0, 1.0]), weights) == [0, 2]
    assert segments(np.array([0.0, 1.0, 1.0]), weights[:3]) == [0]
    assert segments(np.array([0.1]), np.array([3.0])) == [0]


def test_steps_are_found_however_high_the_line_lies() -> None:
    step = NOISE + 0.1 * (np.arange(24) >= 9)
    assert segments(step + 1e6, WEIGHTS) == [0, 9]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_stretches_begin_at_the_start_and_have_two_points_or_more(values: list[float]) -> None:
    starts = segments(np.array(values), np.full(len(values), 1e3))
    assert starts[0] == 0
    assert len(starts) == 1 or min(np.diff([*starts, len(values)])) >= 2


def test_a_single_point_that_stands_out_is_drawn_in_and_a_step_is_not() -> None:
    flat, step = np.zeros(9), np.array([0.0] * 5 + [1.0] * 4)
    spike = flat.copy()
    spike[4] = 1.0
    assert without_spikes(spike, np.full(9, 1e4))[4] == pytest.approx(0.02)
    assert without_spikes(-spike, np.full(9, 1e4))[4] == pytest.approx(-0.02)
    assert without_spikes(step, np.full(9, 1e4)).tolist() == step.tolist()
    assert without_spikes(spike[3:6], np.full(3, 1e4)).tolist() == pytest.approx([0.0, 0.02, 0.0])


@pytest.mark.parametrize("values", [[1.0], [0.0, 1.0]])
def test_without_points_on_both_sides_nothing_is_drawn_in(values: list[float]) -> None:
    assert without_spikes(np.array(values), np.full(len(values), 1e4)).tolist() == values


def test_levels_are_weighted_means_with_their_errors() -> None:
    fit = WeightedPoints(np.array([1.0, 2.0, 9.0]), np.array([3.0, 1.0, 4.0]), [0, 2], factor=4.0, freedom=5.0)
    first, second = fit.levels()
    assert (first, second) == (Location(1.25, 1.0, 5.0), Location(9.0, 1.0, 5.0))
    assert fit.level_of_points() == tuple(as_ratio(level.interval()) for level in (first, first, second))


def test_the_cost_is_what_the_points_are_apart_from_their_own_stretchs_mean() -> None:
    values, weights = np.array([1.0, 2.0, 9.0]), np.array([3.0, 1.0, 4.0])
    assert cost(values, weights, [0, 2]) == pytest.approx(3 * 0.25**2 + 0.75**2)


def test_the_straight_line_is_that_of_least_squares() -> None:
    weights = np.linspace(1e4, 3e4, 24)
    line = StraightLine.through(NOISE, weights)
    (slope, offset), covariance = np.polyfit(np.arange(24), NOISE, 1, w=np.sqrt(weights), cov="unscaled")
    assert (line.slope, line.slope_variance) == pytest.approx((slope, covariance[0, 0]))
    assert line.values == pytest.approx(slope * np.arange(24) + offset)
    assert line.variances[0] == pytest.approx(covariance[1, 1])
    assert line.cost == pytest.approx((weights * (NOISE - line.values) ** 2).sum())


def test_steps_that_a_straight_line_explains_as_well_are_a_drift() -> None:
    index = np.arange(24)
    rising, step = NOISE + 0.005 * index, NOISE + 0.1 * (index >= 12)
    assert len(segments(rising, WEIGHTS)) > 1
    assert drifts(rising, WEIGHTS, segments(rising, WEIGHTS))
    assert not drifts(step, WEIGHTS, segments(step, WEIGHTS))
    assert not drifts(rising, WEIGHTS, [0])  # no change was found
