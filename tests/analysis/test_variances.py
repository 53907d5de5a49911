"""Student's quantiles, and variances that borrow from each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnnbench.analysis.variances import raised, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 9, 400, math.inf])
@pytest.mark.parametrize("probability", [0.01, 0.5, 0.975, 0.9999])
def test_students_quantile_is_scipys(probability: float, freedom: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-12, abs=1e-12)


def test_the_typical_variance_and_how_much_all_are_alike_are_found_again() -> None:
    rng, typical, alike, freedom = np.random.default_rng(9), 4.0, 4.0, 5.0
    true = alike * typical / rng.chisquare(alike, 20_000)
    own = true * rng.chisquare(freedom, len(true)) / freedom
    higher, freedoms = raised(own, np.full(len(true), freedom))
    assert freedoms - freedom == pytest.approx(np.full(len(true), alike), rel=0.15)
    # A small variance becomes the mean of its own and the typical one, weighted by degrees of freedom.
    small = own < typical
    means = (higher * freedoms - own * freedom)[small] / (freedoms - freedom)[small]
    assert means == pytest.approx(typical, rel=0.05)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=30), st.sampled_from([1.0, 3.0, 9.0]))
def test_no_variance_is_lowered_and_none_gains_more_than_its_own_freedom(values: list[float], freedom: float) -> None:
    higher, freedoms = raised(np.array(values), np.full(len(values), freedom))
    assert (higher >= values).all()
    assert ((freedom <= freedoms) & (freedoms <= 2 * freedom)).all()


def test_two_alike_are_enough_to_gain_degrees_of_freedom_and_what_has_none_stays_as_it_is() -> None:
    for freedom in (1.0, 5.0):
        higher, freedoms = raised(np.array([2.0, 2.0, 3.0, 0.0]), np.array([freedom, freedom, 0.0, freedom]))
        assert higher[2:].tolist() == [3.0, 0.0]
        assert freedoms.tolist() == [2 * freedom, 2 * freedom, 0.0, freedom]
        higher, freedoms = raised(
            np.array([2.0, 2.0, 3.0, 0.0]), np.array([freedom, freedom, 0.0, freedom]), with_zeros=True
        )
        assert higher[2] == 3.0
        assert higher[3] == pytest.approx(higher[0])
        assert freedoms.tolist() == [2 * freedom, 2 * freedom, 0.0, 2 * freedom]
    alone = np.array([2.0, 0.0]), np.array([5.0, 5.0])
    assert [values.tolist() for values in raised(*alone)] == [[2.0, 0.0], [5.0, 5.0]]
