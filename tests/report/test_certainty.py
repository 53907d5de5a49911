"""How well a ratio is known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnbench.report.certainty import doubts, has_slow_calls, tally


@pytest.mark.parametrize(
    ("low", "high", "counted", "words"),
    [
        (1.01, 1.2, {"slower": 1}, ""),
        (0.8, 0.99, {"faster": 1}, ""),
        (0.98, 1.03, {"unclear": 1}, "unclear: the interval includes 1"),
        (1.0, 1.2, {"unclear": 1}, "unclear: the interval includes 1"),
        (1.1, 33.0, {"slower": 1}, "coarse: the interval is wide"),
        (0.7, 33.0, {"unclear": 1}, "unclear: the interval includes 1; coarse: the interval is wide"),
        (np.nan, np.nan, {"without an interval": 1}, ""),
        (1.0, 1.0, {}, ""),  # the reference itself, or the fastest, to which the ratios are
    ],
)
def test_a_case_counts_by_its_interval(low: float, high: float, counted: dict[str, int], words: str) -> None:
    row: dict[str, Any] = {"ratio": 1.05, "ratio_low": low, "ratio_high": high, "state": ""}
    row |= {"mean_ratio_low": low, "mean_ratio_high": high}
    assert tally(pd.DataFrame([row])) == counted
    assert "; ".join(doubts(row)) == words


@pytest.mark.parametrize(
    ("mean", "words"), [(1.0, ""), (1.02, ""), (1.2, "some calls are slow: 1.20× in the mean"), (0.7, "0.700×")]
)
def test_a_case_whose_mean_is_apart_from_its_typical_call_says_so(mean: float, words: str) -> None:
    means = {f"mean_ratio{end}": mean * width for end, width in (("", 1.0), ("_low", 0.99), ("_high", 1.01))}
    row: dict[str, Any] = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "state": "", **means}
    assert words in "; ".join(doubts(row))
    assert has_slow_calls(row) == bool(words)
