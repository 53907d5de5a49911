import csv as reader
import io

import pandas as pd
import pytest

from rnnbench.report.tables import table_costs
from rnnbench.report.tables.formats import as_csv, as_markdown
from rnnbench.report.tables.table import Table
from rnnbench.store import metrics
from rnnbench.store.frames.cases import missing_text
from rnnbench.store.metrics import METRICS, Metric
from tests.report.conftest import NO_ENERGY, of_an_older_version, renamed, with_none_measured, with_unknown_metrics


def value(table: Table, series: str, header: str) -> str:
    row = next(row for row in table.rows if row[0] == series)
    return row[table.headers.index(header)]


def test_every_case_has_its_row_by_workload(quick: pd.DataFrame) -> None:
    table = table_costs.render(quick)
    assert len(table.rows) == len(quick)
    assert all(table.rows[start][0].startswith("torch.nn.") for start in table.breaks)
    assert value(table, "combined hoisted", table.headers[-1]).startswith("skipped: combined has one product")


def test_every_known_metric_of_a_call_is_a_column_and_torchinfos_are_not(quick: pd.DataFrame) -> None:
    headers = table_costs.render(quick).headers
    for metric in METRICS:
        is_known = quick[metric.name].notna().any()
        assert (metric.label in headers) == (is_known and metric.probe != "summary"), metric.name


def test_values_have_their_units(quick: pd.DataFrame) -> None:
    selected = (quick["cell"] == "lstm") & (quick["implementation"] == "loop")
    quick.loc[selected, ["macs", "peak_bytes", "times_limit"]] = [17_104_896, 270_336, 78.5]
    quick.loc[selected, "bound_by"] = "memory"
    table = table_costs.render(quick)
    assert value(table, "lstm loop", "MACs") == "17.1 M"
    assert value(table, "lstm loop", "peak memory") == "270 kB"
    assert value(table, "lstm loop", "times the limit") == "78.5×"
    assert value(table, "lstm loop", table.headers[-1]) == "memory"
    assert value(table, "torch.nn.LSTM", "backend") == "mkldnn_rnn_layer"


def test_a_metric_that_is_added_is_a_column_everywhere(quick: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    added = Metric("flips", "bit flips", "count", "that cosmic rays cause", "calls")
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, added))
    table = table_costs.render(quick.assign(flips=12_345))
    assert value(table, "gru loop", "bit flips") == "12.3 k"
    assert "12345" in as_csv.render(table).splitlines()[1]
    assert "bit flips" in table_costs.render(quick).note


def test_what_is_not_known_is_named_with_its_reason_once(quick: pd.DataFrame) -> None:
    note = table_costs.render(quick).note
    assert note.count(NO_ENERGY) == 1
    assert f"energy ({NO_ENERGY})" in note
    assert "peak reserved" not in note  # a GPU's, and this run had none
    assert "energy a sequence (it follows from what is not known)" in note


def test_equal_reasons_are_grouped_and_rarer_ones_counted(quick: pd.DataFrame) -> None:
    quick["saved_bytes"] = float("nan")
    reasons = [{"energy_joules": "no counter", "saved_bytes": "no counter"} for _ in quick.index]
    reasons[0] = {"energy_joules": "asleep"}
    quick["missing"] = pd.Series(map(missing_text, reasons), index=quick.index)
    note = table_costs.render(quick).note
    assert "saved for backward (no counter" in note
    assert "energy (no counter; and 1 other reason)" in note


def test_a_metric_that_only_some_cases_lack_is_a_column_and_a_note(quick: pd.DataFrame) -> None:
    first = quick.index[0]
    quick.loc[first, "macs"] = float("nan")
    reasons = [{"macs": "the cell has no formula"}, *({} for _ in quick.index[1:])]
    quick["missing"] = pd.Series(map(missing_text, reasons), index=quick.index)
    table = table_costs.render(quick)
    assert "MACs" in table.headers
    assert "Not known of some: MACs of 1 case (the cell has no formula)." in table.note


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


def test_a_run_without_measured_cases_claims_nothing_of_metrics(quick: pd.DataFrame) -> None:
    assert table_costs.render(with_none_measured(quick)).note == ""


def test_hostile_names_and_reasons_stay_on_their_line(quick: pd.DataFrame) -> None:
    hostile = renamed(quick, "gru", "a|b`<script>\n.py:X")
    reason = {"energy_joules": "no\x1b[2J\n| <b>counter</b>"}
    hostile["missing"] = missing_text(reason)
    hostile["backend"] = "x\n|<i>"
    table = table_costs.render(hostile)
    text = as_markdown.render(table)
    assert not {"\x1b", "<"} & set(text)
    assert len(text.splitlines()) == len(table.rows) + 6
    assert "energy (no�[2J | <b>counter</b>)" in table.note
