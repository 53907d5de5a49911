"""What a series is worth whose values resemble their neighbours."""

import math

import numpy as np
import pytest

from rnnbench.analysis.estimate import Estimate, estimates_of
from rnnbench.analysis.rounds import LEAST, widened, widening, worth
from tests.validation.history_simulated import wandering


def series(correlation: float, rounds: int, count: int = 400) -> list[list[float]]:
    rows: list[list[float]] = wandering(np.random.default_rng(rounds), correlation, (count, rounds), 0.02).tolist()
    return rows


def covered(correlation: float, rounds: int) -> float:
    """The share of 95% intervals that hold the truth, 0."""
    drawn = series(correlation, rounds)
    intervals = [widened(estimates_of([logs])[0], logs) for logs in drawn]
    return float(np.mean([interval.lower <= 0 <= interval.upper for interval in intervals]))


@pytest.mark.parametrize(("rounds", "mean"), [(6, 1.1), (10, 1.25), (60, 1.12)])
def test_independent_values_lose_little(rounds: int, mean: float) -> None:
    widths = [widening(logs) for logs in series(0.0, rounds)]
    assert np.median(widths) == 1.0
    assert np.mean(widths) < mean


# Without `widened`: 76, 73, 72 and 45 to 48%.
@pytest.mark.parametrize(
    ("correlation", "rounds", "least"), [(0.5, 10, 0.84), (0.5, 20, 0.88), (0.5, 60, 0.92), (0.8, 60, 0.9)]
)
def test_intervals_of_values_that_resemble_their_neighbours_are_wider(
    correlation: float, rounds: int, least: float
) -> None:
    assert covered(correlation, rounds) >= least


def test_many_values_are_worth_what_the_formula_says() -> None:
    values = wandering(np.random.default_rng(1), 0.5, (1, 4000), 1.0)[0].tolist()
    assert worth(values) == pytest.approx(4000 / 3, rel=0.1)


def test_noise_of_their_own_does_not_hide_how_long_values_wander() -> None:
    rng = np.random.default_rng(2)
    values = wandering(rng, 0.8, (1, 4000), 1.0)[0] + 0.8 * rng.standard_normal(4000)
    by_neighbours_alone = 4000 * (1 - 0.49) / (1 + 0.49)
    assert worth(values.tolist()) < 0.7 * by_neighbours_alone


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 2.0], [0.1] * 20, [-13.8] * 7, [0.0, 1.0] * 8, [1.0, 2.0, 3.0, 4.0, 5.0]]
)
def test_few_equal_or_alternating_values_keep_their_number(values: list[float]) -> None:
    assert worth(values) == len(values)
    assert widened(Estimate(0.0, -1.0, 1.0), values) == Estimate(0.0, -1.0, 1.0)


def test_a_drift_is_worth_the_fewest_values_and_a_stall_does_not_hide_it() -> None:
    drift = list(range(20))
    assert worth(drift) == LEAST
    assert worth([*drift[:9], 1000, *drift[10:]]) == LEAST


def test_an_interval_grows_from_its_value_and_may_be_unknown() -> None:
    drift = [0.01 * value for value in range(20)]
    factor = math.sqrt(20 / LEAST) * 2.7764 / 2.0930
    assert widening(drift) == pytest.approx(factor, rel=1e-3)
    wide = widened(Estimate(1.0, 0.9, 1.2), drift)
    assert (wide.lower, wide.value, wide.upper) == pytest.approx((1 - 0.1 * factor, 1.0, 1 + 0.2 * factor), rel=1e-3)
    assert math.isnan(widened(Estimate(1.0, math.nan, math.nan), drift).lower)
