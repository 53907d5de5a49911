"""How well a ratio is known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnnbench.report.facts import doubts, has_slow_calls, tally


@pytest.mark.parametrize(
    ("low", "high", "counted", "words"),
    [
        (1.01, 1.2, {"slower": 1}, ""),
        (0.8, 0.99, {"faster": 1}, ""),
        (0.98, 1.03, {"unclear": 1}, "unclear, the interval includes 1"),
        (1.0, 1.2, {"unclear": 1}, "unclear, the interval includes 1"),
        (1.1, 33.0, {"slower": 1}, "coarse, the interval is wide"),
        (0.7, 33.0, {"unclear": 1}, "unclear, the interval includes 1; coarse, the interval is wide"),
        (np.nan, np.nan, {"without an interval": 1}, ""),
        (1.0, 1.0, {}, ""),  # the reference itself, or the fastest, to which the ratios are
    ],
)
def test_a_case_counts_by_its_interval(low: float, high: float, counted: dict[str, int], words: str) -> None:
    row: dict[str, Any] = {"ratio": 1.05, "ratio_low": low, "ratio_high": high, "state": ""}
    row |= {"has_slow_calls": False}
    assert tally(pd.DataFrame([row])) == counted
    assert "; ".join(doubts(row)) == words


@pytest.mark.parametrize(("slow_calls", "words"), [(False, ""), (True, "only some calls are slow")])
def test_a_case_of_which_only_some_calls_are_slow_says_so(slow_calls: bool, words: str) -> None:
    row: dict[str, Any] = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "state": "", "has_slow_calls": slow_calls}
    assert "; ".join(doubts(row)) == words
    assert has_slow_calls(row) == slow_calls
