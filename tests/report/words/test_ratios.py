from dataclasses import replace

import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.words.ratios import missed, reached, undecided
from tests.doubles.stored import INFO


@pytest.mark.parametrize(
    ("low", "high", "precision", "words"),
    [
        (1.97, 2.03, 0.02, ""),
        (1.95, 2.05, 0.02, "interval wider than ±2%"),
        (1.99, 2.01, 0.004, "interval wider than ±0.4%"),
        (1.0, 3.0, None, ""),
        (float("nan"), float("nan"), 0.02, ""),
    ],
)
def test_a_ratio_is_marked_where_it_is_wider_than_asked(
    low: float, high: float, precision: float | None, words: str
) -> None:
    info = replace(INFO, resolved={"measure": {"precision": precision}})
    assert missed({"ratio": 2.0, "ratio_low": low, "ratio_high": high}, info) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.98, 1.03, "undecided: the interval includes 1"),
        (1.0, 1.2, "undecided: the interval includes 1"),
        (1.01, 1.2, ""),
        (1.1, 33, "undecided: the interval is too wide"),
        (0.8, 0.99, ""),
        (1.0, 1.0, ""),  # the reference itself
        (float("nan"), float("nan"), ""),
    ],
)
def test_an_interval_that_holds_1_or_is_wide_decides_nothing(low: float, high: float, words: str) -> None:
    assert undecided({"ratio_low": low, "ratio_high": high}) == words


def test_the_precision_reached_counts_what_met_what_was_asked(quick: pd.DataFrame, snapshot: SnapshotAssertion) -> None:
    measured = quick.index[(quick["implementation"] != "torch.nn") & quick["ratio"].notna()]
    quick.loc[measured, ["ratio_low", "ratio_high"]] = [2 / 1.01, 2 * 1.01]
    quick.loc[measured[:5], ["ratio_low", "ratio_high"]] = [2 / 1.05, 2 * 1.05]
    with_target = replace(INFO, resolved={"measure": {"precision": 0.02}})
    assert {"asked": reached(quick, with_target), "not asked": reached(quick, INFO)} == snapshot
    assert reached(quick.head(0), with_target) == ""
