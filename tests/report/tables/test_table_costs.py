import csv as reader
import io

import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.tables import table_costs
from rnnbench.report.tables.formats import as_csv
from rnnbench.report.tables.table import Table
from rnnbench.store import metrics
from rnnbench.store.frames import missing_text
from rnnbench.store.metrics import METRICS, Metric
from tests.report.conftest import NO_ENERGY, of_an_older_version, with_unknown_metrics


def value(table: Table, series: str, header: str) -> str:
    row = next(row for row in table.rows if row[0] == series)
    return row[table.headers.index(header)]


def test_every_known_metric_of_a_call_is_a_column_and_torchinfos_are_not(quick: pd.DataFrame) -> None:
    headers = table_costs.render(quick).headers
    for metric in METRICS:
        is_known = quick[metric.name].notna().any()
        assert (metric.label in headers) == (is_known and metric.probe != "summary"), metric.name


def test_a_metric_that_is_added_is_a_column_everywhere(quick: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    added = Metric("flips", "bit flips", "count", "that cosmic rays cause", "calls")
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, added))
    table = table_costs.render(quick.assign(flips=12_345))
    assert value(table, "gru loop", "bit flips") == "12.3 k"
    assert "12345" in as_csv.render(table).splitlines()[1]
    assert "bit flips" in table_costs.render(quick).note


def test_equal_reasons_are_grouped_and_rarer_ones_counted(quick: pd.DataFrame, snapshot: SnapshotAssertion) -> None:
    quick["saved_bytes"] = float("nan")
    reasons = [{"energy_joules": "no counter", "saved_bytes": "no counter"} for _ in quick.index]
    reasons[0] = {"energy_joules": "asleep"}
    quick["missing"] = pd.Series(map(missing_text, reasons), index=quick.index)
    assert table_costs.render(quick).note == snapshot


def test_a_metric_that_only_some_cases_lack_is_a_column_and_a_note(quick: pd.DataFrame) -> None:
    first = quick.index[0]
    quick.loc[first, "macs"] = float("nan")
    reasons = [{"macs": "the cell has no formula"}, *({} for _ in quick.index[1:])]
    quick["missing"] = pd.Series(map(missing_text, reasons), index=quick.index)
    table = table_costs.render(quick)
    assert "MACs" in table.headers
    assert "(the cell has no formula)" in table.note


def test_csv_has_every_metric_in_full(quick: pd.DataFrame) -> None:
    rows = list(reader.DictReader(io.StringIO(as_csv.render(table_costs.render(quick)))))
    assert {metric.name for metric in METRICS} | {"case", "backend", "bound_by", "missing"} <= set(rows[0])
    by_case = quick.set_index("case")
    for row in rows:
        expected = by_case.loc[row["case"], "macs_per_second"]
        assert float(row["macs_per_second"] or "nan") == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert rows[0]["missing"] == f"energy_joules: {NO_ENERGY}"


@pytest.mark.parametrize("change", [of_an_older_version, with_unknown_metrics])
def test_an_older_run_has_a_table_of_what_it_knows(quick: pd.DataFrame, change: type) -> None:
    table = table_costs.render(change(quick))
    assert len(table.rows) == len(quick)
    assert not {metric.label for metric in METRICS} & set(table.headers)
    assert "did not observe them" in table.note
