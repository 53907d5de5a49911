"""How much ratios differ from run to run, on points whose scatter is known."""

import math

import numpy as np
import pytest

from rnnbench.analysis.history.run_scatter import (
    ASSUMED_CORRELATION,
    LOWER_SHARE_OF_VARIANCE,
    RunScatter,
    run_scatter,
)
from rnnbench.analysis.location import Location
from tests.validation.history_simulated import wandering


def test_the_scatter_from_run_to_run_is_what_the_points_own_errors_do_not_explain() -> None:
    rng = np.random.default_rng(6)
    lines = [[Location(value, 0.003, 5.0) for value in rng.normal(0, 0.01, 40)] for _ in range(40)]
    assert run_scatter(lines).variance == pytest.approx(0.01**2 - 0.003**2, rel=0.2)
    assert run_scatter(lines).correlation < 0.15
    assert run_scatter([[Location(0.0, 1.0, 5.0)] * 3]) == RunScatter(0.0, 0.0)
    assert run_scatter([]) == RunScatter(0.0, 0.0)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_correlation_of_neighbouring_runs_is_found_and_makes_means_less_certain(correlation: float) -> None:
    rng = np.random.default_rng(7)
    lines = wandering(rng, correlation, (40, 40), 0.01)
    scatter = run_scatter([[Location(value, 0.0, 5.0) for value in line] for line in lines.tolist()])
    assert scatter.correlation == pytest.approx(correlation, abs=0.1)
    assert scatter.variance == pytest.approx(1e-4, rel=0.35)
    assert scatter.lasting_variance == scatter.variance * (1 + scatter.correlation) / (1 - scatter.correlation)


def test_the_scatter_from_run_to_run_comes_from_the_smaller_differences_of_neighbours() -> None:
    errors = [[0.01, 0.02, 0.04], [0.03, 0.04], [0.01, 0.02], [0.01, 0.02]]
    values = [[0.0, 0.1, 0.3], [0.4, 0.2], [0.0, 0.1], [0.0, 9.0]]  # the last one changed
    known = [[Location(*pair, 5.0) for pair in zip(*line, strict=True)] for line in zip(values, errors, strict=True)]
    own, seen = 0.01**2 + 0.02**2, (2 * 0.1**2 + 0.2**2) / 3 / LOWER_SHARE_OF_VARIANCE
    assert run_scatter(known).of_neighbours == pytest.approx(seen - own)
    alone = [[Location(value, math.nan, 0.0) for value in line] for line in values]  # one replicate each
    assert run_scatter(alone).of_neighbours == pytest.approx(seen)


def test_few_differences_leave_the_correlation_near_what_is_assumed() -> None:
    values = np.random.default_rng(9).normal(0, 0.01, 40 * 40).tolist()
    points = [Location(value, 0.0, 5.0) for value in values]
    one, three, many = (run_scatter([points[40 * row : 40 * row + 20] for row in range(rows)]) for rows in (1, 3, 40))
    assert 0.4 < one.correlation <= 0.8
    assert many.correlation < 0.15 < three.correlation < one.correlation
    assert run_scatter([points[:3]]).correlation == pytest.approx(ASSUMED_CORRELATION, abs=0.01)
