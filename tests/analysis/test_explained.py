import math

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.explained import explained_shares, explaining


def ratios(of_batch: float, of_length: float, lengths: range, noise: float) -> pd.DataFrame:
    """Two series, far from each other, whose log ratios depend on batch and length."""
    random = np.random.default_rng(1)
    rows = [
        {"series": series, "batch_size": batch, "seq_len": length, "ratio": math.exp(log)}
        for number, series in enumerate(("a", "b"))
        for batch in (1, 8, 32)
        for length in lengths
        for log in [5 * number + of_batch * np.log(batch) + of_length * np.log(length) + random.normal(0, noise)]
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("frame", "axis"),
    [
        (ratios(0.5, 0.1, range(16, 65, 48), 0.01), "batch_size"),
        (ratios(0.05, 0.8, range(16, 65, 48), 0.01), "seq_len"),
        (ratios(0.1, 0.0, range(1, 41), 0.4), "batch_size"),  # an axis of many values gains nothing by chance
        (ratios(0.5, 0.0, range(16, 17), 0.01), "seq_len"),  # can't be told apart: the first
        (ratios(0.0, 0.0, range(16, 65, 48), 0.0), "seq_len"),
    ],
)
def test_the_axis_that_moves_the_ratios_within_each_series_explains_most(frame: pd.DataFrame, axis: str) -> None:
    assert explaining(frame, ["series"], ["seq_len", "batch_size"]) == axis
    assert explaining(frame, ["series"], []) is None


@pytest.mark.parametrize("series", [("a",), ("a", "b")])
def test_a_share_is_that_of_the_variance_and_pays_for_each_value_of_its_axis(series: tuple[str, ...]) -> None:
    """By hand: the variance is 17.5 / 5, what a batch leaves of it 4 / 4, and what a length leaves 13.5 / 3."""
    rows = [
        {"series": name, "batch_size": 1 + place // 3, "seq_len": 1 + place % 3, "case": place, "ratio": math.exp(log)}
        for number, name in enumerate(series)
        for place, log in enumerate(10.0 * number + np.arange(6))
    ]
    shares = explained_shares(pd.DataFrame(rows), ["series"], ["batch_size", "seq_len", "case"])
    assert shares == pytest.approx({"batch_size": 1 - 1 / 3.5, "seq_len": 1 - 4.5 / 3.5})  # no case is like another
