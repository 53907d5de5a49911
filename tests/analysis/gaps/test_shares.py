"""Shares with the errors of part and whole: hand-made values, and coverage by simulation."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.analysis.gaps.shares import paired_share_of, share_of


def test_a_whole_without_error_divides_the_part_and_its_interval() -> None:
    share = share_of(Estimate(2.0, 1.0, 3.0), Estimate(4.0, 4.0, 4.0))
    assert astuple(share) == pytest.approx((0.5, 0.25, 0.75))


def test_the_error_of_the_whole_widens_the_interval_and_more_so_upwards() -> None:
    share = share_of(Estimate(2.0, 1.9, 2.1), Estimate(4.0, 3.0, 5.0))
    assert share.value == 0.5
    assert share.lower == pytest.approx(0.395, abs=0.005)
    assert share.upper == pytest.approx(0.672, abs=0.005)


@pytest.mark.parametrize(
    "whole", [Estimate(1.0, 0.0, 2.0), Estimate(-1.0, -1.1, -0.9), Estimate(1.0, math.nan, math.nan)]
)
def test_a_whole_that_may_be_nothing_has_no_shares(whole: Estimate) -> None:
    assert np.isnan(astuple(share_of(Estimate(0.5, 0.4, 0.6), whole))).all()


def test_what_varies_with_the_whole_has_a_certain_share() -> None:
    wholes = [1.0, 3.0, 2.0, 4.0]
    share = paired_share_of([whole / 2 for whole in wholes], wholes)
    assert astuple(share) == pytest.approx((0.5, 0.5, 0.5))
    assert astuple(paired_share_of([0.5], [2.0])) == pytest.approx((0.25, math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize("spread", [0.02, 0.2])
@pytest.mark.parametrize("is_skewed", [False, True])
def test_intervals_hold_the_true_share_as_often_as_they_say(spread: float, is_skewed: bool) -> None:
    rng = np.random.default_rng([round(100 * spread), is_skewed])

    def drawn(value: float) -> list[float]:
        noise = rng.exponential(size=8) - 1 if is_skewed else rng.standard_normal(8)
        values: list[float] = (value + spread * noise).tolist()
        return values

    apart, paired = [], []
    for _ in range(600):
        part, whole = drawn(0.3), drawn(1.0)
        interval = share_of(estimate(part), estimate(whole))
        apart.append(interval.lower <= 0.3 <= interval.upper)
        interval = paired_share_of(part, whole)
        paired.append(interval.lower <= 0.3 <= interval.upper)
    assert 0.88 < np.mean(apart) < 0.99  # Student's interval itself covers 91% of eight skewed values
    assert 0.88 < np.mean(paired) < 0.99
