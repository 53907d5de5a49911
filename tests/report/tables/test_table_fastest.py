"""The fastest implementation of each cell, from ratios that are set by hand."""

import pandas as pd
import pytest

from rnnbench.report.tables import table_fastest


@pytest.fixture
def ladder(quick: pd.DataFrame) -> pd.DataFrame:
    """The LSTM of `quick` in inference, in two implementations: `hoisted` is ahead at three of eight workloads."""
    rows = quick[(quick["reference"] == "lstm") & (quick["phase"] == "inference")].copy()
    hoisted = rows.index[rows["implementation"] == "hoisted"]
    rows.loc[rows["implementation"] == "loop", "ratio"] = 1.05
    rows.loc[hoisted, "ratio"] = [0.8, 0.9, 0.95, 1.2, 1.2, 1.2, 1.2, 1.2]
    rows[["ratio_low", "ratio_high"]] = rows[["ratio", "ratio"]].to_numpy() * [0.94, 1.06]
    return rows


def test_the_lowest_ratio_of_each_workload_counts(ladder: pd.DataFrame) -> None:
    table = table_fastest.render(ladder)
    assert table.rows == (("lstm", "inference", "loop 5, hoisted 3", "1.05×", "0.800–1.05", "8 of 8", "2 of 8"),)
    assert table.frame["faster"].to_list() == [2]  # the interval of 0.95 contains 1


def test_a_case_without_a_ratio_does_not_count(ladder: pd.DataFrame) -> None:
    ladder.loc[ladder["implementation"] == "loop", "ratio"] = float("nan")
    assert table_fastest.render(ladder) is None  # one implementation is left


def test_a_cell_that_is_run_in_one_way_has_no_row(quick: pd.DataFrame) -> None:
    table = table_fastest.render(quick)
    cells = {row[0] for row in table.rows}
    assert "lstm" in cells
    assert "combined" not in cells  # which can't be hoisted
    assert table_fastest.render(quick[quick["implementation"] != "hoisted"]) is None
