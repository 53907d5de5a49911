"""The answer of a run in words, the table of what is fastest, the table of all cases and the heads of its series."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.summary import SHARED, UNDISTURBED
from rnnbench.report.case_tables import notes, table_of_cases, table_of_fastest, table_of_medians
from rnnbench.report.facts import ABOUT_CASE_STAR, ABOUT_STAR, STAR
from rnnbench.report.table import Table, markdown
from rnnbench.store import metrics
from rnnbench.store.metrics import METRICS, Metric
from tests.report.conftest import (
    with_none_measured,
    with_one_replicate,
    without_any_reference,
    without_reference,
)


@pytest.fixture
def ladder(quick: pd.DataFrame) -> pd.DataFrame:
    """The LSTM of `quick` in inference, in two implementations: `hoisted` is ahead at three of eight workloads."""
    rows = quick[(quick["reference"] == "lstm") & (quick["phase"] == "inference")].copy()
    hoisted = rows.index[rows["implementation"] == "hoisted"]
    rows.loc[rows["implementation"] == "loop", "ratio"] = 1.05
    rows.loc[hoisted, "ratio"] = [0.8, 0.9, 0.95, 1.2, 1.2, 1.2, 1.2, 1.2]
    rows[["ratio_low", "ratio_high"]] = rows[["ratio", "ratio"]].to_numpy() * [0.94, 1.06]
    return rows


def test_the_fastest_has_the_lowest_ratio_and_is_decided_where_its_interval_lies_below_the_others(
    ladder: pd.DataFrame,
) -> None:
    table = table_of_fastest(ladder)
    assert table is not None
    # The interval of 0.95 contains 1 and meets that of 1.05; those of 1.05 and 1.2 lie apart by a hair.
    assert table.rows == (("lstm", "1.05×", "0.800–1.05", "inference", "loop 5, hoisted 3", "7 of 8", "2 of 8"),)
    of_one_way = ladder[ladder["implementation"] != "loop"].assign(cell="other")
    table = table_of_fastest(pd.concat([ladder, of_one_way], ignore_index=True))
    assert table is not None
    assert [row[-3:-1] for row in table.rows] == [("loop 5, hoisted 3", "7 of 8"), ("hoisted", "the only one")]
    assert table_of_fastest(of_one_way) is None  # there is nothing to choose


def test_what_is_fastest_on_a_shared_core_is_in_no_median_of_others_and_not_decided_across_states(
    ladder: pd.DataFrame,
) -> None:
    ladder["state"] = np.where(ladder["seq_len"] == 16, UNDISTURBED, SHARED)
    table = table_of_fastest(ladder)
    undisturbed = table_of_fastest(ladder[ladder["state"] == UNDISTURBED])
    assert table is not None
    assert undisturbed is not None
    assert [row[1:3] for row in table.rows] == [row[1:3] for row in undisturbed.rows]
    assert ABOUT_STAR not in table.note  # no row has a star
    assert [row[-2] for row in table.rows] == ["7 of 8"]  # as many as of one state
    ladder["state"] = np.where(ladder["implementation"] == "loop", UNDISTURBED, SHARED)
    table = table_of_fastest(ladder)
    assert table is not None
    assert all(row[-2].startswith("0 of ") for row in table.rows)


@pytest.mark.parametrize("make", [table_of_fastest, table_of_medians])
@pytest.mark.parametrize(("shared", "has_star"), [(["training"], True), (["training", "inference"], False)])
def test_a_star_is_explained_where_a_row_has_one(
    quick: pd.DataFrame, make: Callable[[pd.DataFrame], Table], shared: list[str], has_star: bool
) -> None:
    quick["state"] = np.where(quick["phase"].isin(shared), SHARED, UNDISTURBED)
    table = make(quick)
    assert any(STAR in text for row in table.rows for text in row) == has_star
    assert (ABOUT_STAR in table.note) == has_star


def test_the_star_of_a_case_is_explained_where_no_series_has_one(ladder: pd.DataFrame) -> None:
    ladder["state"] = np.where(ladder["seq_len"].eq(16), SHARED, UNDISTURBED)
    table = table_of_cases(ladder, is_worst_first=True)
    assert table.heads is not None
    assert not any(STAR in text for row in table.heads.rows for text in row)
    assert any(STAR in text for row in table.rows for text in row)
    assert ABOUT_CASE_STAR in table.note
    ladder["state"] = SHARED
    assert STAR not in table_of_cases(ladder, is_worst_first=True).note


@pytest.mark.parametrize(("launch_bound", "is_told"), [(True, True), (False, False), (float("nan"), False)])
def test_a_case_whose_device_waits_for_the_host_is_told_of(
    quick: pd.DataFrame, launch_bound: object, is_told: bool
) -> None:
    row = quick.iloc[0].to_dict() | {"launch_bound": launch_bound}
    assert ("launch-bound" in notes(row)) == is_told


def cell(table: Table, series: str, header: str) -> str:
    row = next(row for row in table.rows if row[0] == series)
    return row[table.headers.index(header)]


def test_every_case_stands_below_its_series_with_the_fastest_marked(
    quick: pd.DataFrame, snapshot: SnapshotAssertion
) -> None:
    few = quick[(quick["seq_len"] == 16) & (quick["batch_size"] == 1) & (quick["phase"] == "training")]
    few = few[few["reference"].isin(["lstm", "gru"])].reset_index(drop=True)
    failed = few.index[(few["cell"] == "gru") & (few["implementation"] == "loop")][:1]
    few.loc[failed, ["status", "reason"]] = ["failed", "parity: off by 0.3\nin gradient"]
    few.loc[failed, ["seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high"]] = float("nan")
    table = table_of_cases(few)
    assert markdown(table) == snapshot(name="cases")
    assert markdown(table_of_medians(few)) == snapshot(name="medians")


def test_sizes_that_differ_by_phase_are_told_beside_the_medians(quick: pd.DataFrame) -> None:
    short = quick[(quick["phase"] == "inference") | (quick["seq_len"] == 16)]
    assert table_of_medians(short).note.endswith(
        "Sizes differ by phase: length is 16 and 64 in inference, 16 in training."
    )
    assert "differ" not in table_of_medians(quick).note


def test_each_row_names_its_case_and_each_part_is_one_series(quick: pd.DataFrame) -> None:
    table = table_of_cases(quick, is_worst_first=True)
    assert sorted(table.cases) == list(range(len(quick)))
    for head, rows in table.parts():
        assert {row[0] for _, row in rows} == {head[0]}
        assert {quick.loc[table.cases[number], "phase"] for number, _ in rows} == {head[table.headers.index("phase")]}
    fastest = [row for row in table.rows if row[-1].startswith("fastest")]
    assert len(fastest) == 48  # vanilla, lstm and gru have two implementations at 8 sizes in 2 phases


def test_every_known_metric_is_an_optional_column_and_over_the_reference_in_heads(
    quick: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        metrics, "METRICS", (*METRICS, Metric("flips", "bit flips", "count", "of cosmic rays", "calls"))
    )
    loops = quick["cell"].eq("gru") & quick["implementation"].eq("loop")
    quick["flips"] = loops.map({True: 12_345, False: 5})
    table = table_of_cases(quick, is_worst_first=True)
    optional = {column.header for column in table.columns if column.is_optional}
    assert {metric.label for metric in METRICS if quick[metric.name].notna().any()} | {"bit flips"} < optional
    assert cell(table, "gru loop", "bit flips") == "12.3 k"
    assert table.heads is not None
    assert cell(table.heads, "gru loop", "bit flips") == "2,469×"
    assert "flips" in table.frame


def test_a_metric_that_no_case_has_is_named_with_its_reason(quick: pd.DataFrame) -> None:
    assert "Not known: energy (no RAPL: there is no /sys/class/powercap)." in table_of_cases(quick).aside


POOR = {
    "one replicate": with_one_replicate,
    "none measured": with_none_measured,
    "a group without its reference": without_reference,
    "no reference": without_any_reference,
}


@pytest.mark.parametrize("poor", POOR)
def test_poor_runs_have_a_table_too(quick: pd.DataFrame, poor: str) -> None:
    table = table_of_cases(POOR[poor](quick), is_worst_first=True)
    assert table.heads is not None
    for text in map(markdown, (table, table.heads)):
        assert "nan" not in text.replace("reference, nan", "")
    table.files()
