"""The table of all cases, the heads of its series."""

import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.cases import table_of_cases
from rnnbench.report.table import Table, markdown
from rnnbench.store import metrics
from rnnbench.store.metrics import METRICS, Metric
from rnnbench.store.run_info import RunInfo
from tests.report.conftest import (
    of_an_older_version,
    with_none_measured,
    with_one_replicate,
    with_unknown_metrics,
    without_any_reference,
    without_reference,
)


def cell(table: Table, series: str, header: str) -> str:
    row = next(row for row in table.rows if row[0] == series)
    return row[table.headers.index(header)]


def test_every_case_stands_below_its_series_with_the_fastest_marked(
    quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion
) -> None:
    few = quick[(quick["seq_len"] == 16) & (quick["batch_size"] == 1) & (quick["phase"] == "training")]
    few = few[few["reference"].isin(["lstm", "gru"])].reset_index(drop=True)
    failed = few.index[(few["cell"] == "gru") & (few["implementation"] == "loop")][:1]
    few.loc[failed, ["status", "reason"]] = ["failed", "parity: off by 0.3\nin gradient"]
    few.loc[failed, ["seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high"]] = float("nan")
    table = table_of_cases(few, info)
    assert table.heads is not None
    assert markdown(table) == snapshot(name="cases")
    assert markdown(table.heads) == snapshot(name="medians")


def test_each_row_names_its_case_and_each_part_is_one_series(quick: pd.DataFrame, info: RunInfo) -> None:
    table = table_of_cases(quick, info)
    assert sorted(table.cases) == list(range(len(quick)))
    for head, rows in table.parts():
        assert {row[0] for _, row in rows} == {head[0]}
        assert {quick.loc[table.cases[number], "phase"] for number, _ in rows} == {head[table.headers.index("phase")]}
    fastest = [row for row in table.rows if row[-1].startswith("fastest")]
    assert len(fastest) == 48  # vanilla, lstm and gru have two implementations at 8 sizes in 2 phases


def test_every_known_metric_is_an_optional_column_and_over_the_reference_in_heads(
    quick: pd.DataFrame, info: RunInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        metrics, "METRICS", (*METRICS, Metric("flips", "bit flips", "count", "of cosmic rays", "calls"))
    )
    loops = quick["cell"].eq("gru") & quick["implementation"].eq("loop")
    quick["flips"] = loops.map({True: 12_345, False: 5})
    table = table_of_cases(quick, info)
    optional = {column.header for column in table.columns if column.is_optional}
    assert {metric.label for metric in METRICS if quick[metric.name].notna().any()} | {"bit flips"} < optional
    assert cell(table, "gru loop", "bit flips") == "12.3 k"
    assert table.heads is not None
    assert cell(table.heads, "gru loop", "bit flips") == "2,469×"
    assert "flips" in table.frame


def test_a_metric_that_no_case_has_is_named_with_its_reason(quick: pd.DataFrame, info: RunInfo) -> None:
    assert "Not known: energy (no RAPL: there is no /sys/class/powercap)." in table_of_cases(quick, info).note


POOR = {
    "one replicate": with_one_replicate,
    "none measured": with_none_measured,
    "a group without its reference": without_reference,
    "no reference": without_any_reference,
    "an older version": of_an_older_version,
    "unknown metrics": with_unknown_metrics,
}


@pytest.mark.parametrize("poor", POOR)
def test_poor_runs_have_a_table_too(quick: pd.DataFrame, info: RunInfo, poor: str) -> None:
    table = table_of_cases(POOR[poor](quick), info)
    assert table.heads is not None
    for text in map(markdown, (table, table.heads)):
        assert "nan" not in text.replace("reference, nan", "")
    table.files()
