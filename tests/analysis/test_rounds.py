"""Result rows from rounds with invented times."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.replicate import Times
from rnnbench.analysis.rounds import compare, wider_than
from tests.doubles.stored import steady

seconds = st.floats(1e-6, 10.0)


def times(*values: float) -> list[Times]:
    return [steady(value, 1.1 * value) for value in values]


@given(st.lists(st.tuples(seconds, seconds), min_size=2, max_size=12))
def test_a_ratio_is_taken_within_each_round_and_lies_in_its_interval(rounds: list[tuple[float, float]]) -> None:
    base, mine = ([pair[arm] for pair in rounds] for arm in (0, 1))
    frame = compare({"base": times(*base), "mine": times(*mine)}, "base")
    ratios = [second / first for first, second in rounds]
    row = frame.loc["mine"]
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert min(ratios) * 0.999 <= row["ratio"] <= max(ratios) * 1.001
    assert row["mean_seconds"] == pytest.approx(1.1 * sum(mine) / len(mine))


def test_noise_that_all_arms_share_widens_times_and_not_ratios() -> None:
    shared = (1.0, 1.4, 0.9, 1.1, 1.3, 1.0)
    frame = compare({"base": times(*shared), "mine": times(*(3 * value for value in shared))}, "base")
    assert (frame["ratio_low"]["mine"], frame["ratio_high"]["mine"]) == pytest.approx((3.0, 3.0))
    assert frame["seconds_high"]["mine"] > 1.2 * frame["seconds_low"]["mine"]


def test_the_reference_is_once_as_fast_as_itself() -> None:
    frame = compare({"mine": times(2.0, 2.1), "base": times(1.0, 1.2)}, "base")
    assert frame.index.tolist() == ["mine", "base"]
    assert (frame[["ratio", "ratio_low", "ratio_high"]].loc["base"] == 1.0).all()
    assert frame["replicates"].tolist() == [2, 2]
    assert frame["replicates"].dtype == int


def test_an_interval_that_is_missing_is_not_precise() -> None:
    frame = compare({"base": times(1.0), "mine": times(2.0)}, "base")
    assert frame["ratio_low"].isna()["mine"]
    assert wider_than(frame, 0.5) == ["mine"]


def test_arms_that_are_less_precise_than_asked_are_named() -> None:
    frame = pd.DataFrame({"ratio_low": [0.98, 1.8, math.nan], "ratio_high": [1.02, 2.2, math.nan]}, index=list("abc"))
    assert wider_than(frame, 0.03) == ["b", "c"]  # a: 2% to each side, b: 11%
    assert wider_than(frame, 0.12) == ["c"]
    assert wider_than(frame, 0.01) == ["a", "b", "c"]
