import csv as reader
import io
import json
import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from rnnbench.report.tables import all_tables, table_environment
from rnnbench.report.tables.formats import as_csv, as_markdown
from rnnbench.report.tables.formats.as_csv import guarded
from rnnbench.report.tables.formats.as_markdown import escape
from rnnbench.report.tables.table import Table
from rnnbench.report.words.axes import one_line
from rnnbench.store.run_info import RunInfo
from tests.doubles.stored import PROCESSOR
from tests.report.conftest import (
    Summaries,
    info_with,
    of_an_older_version,
    renamed,
    with_none_measured,
    with_one_replicate,
    with_unknown_metrics,
    without_reference,
)

UNESCAPED_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")


@pytest.fixture(scope="module")
def of_quick(made_up: Summaries, info: RunInfo) -> dict[str, Table]:
    """The tables of the run that `quick` is the summary of."""
    return all_tables.render(made_up("quick"), info)


def read(text: str) -> list[dict[str, str]]:
    return list(reader.DictReader(io.StringIO(text)))


def some(quick: pd.DataFrame) -> pd.DataFrame:
    """Two workloads; a case of a cell failed, and another cell is suspect."""
    sizes = (quick["seq_len"] == 16) & (quick["batch_size"] == 1) & (quick["hidden_size"] == 64)
    few = quick[sizes].reset_index(drop=True)
    failed = few.index[(few["cell"] == "gru") & (few["implementation"] == "loop")][:1]
    failure: Any = ["failed", "parity: off by 0.3\nin gradient", *[float("nan")] * 4]
    few.loc[failed, ["status", "reason", "seconds", "ratio", "ratio_low", "ratio_high"]] = failure
    few.loc[few["cell"] == "lstm", "suspicion"] = "torch shows 12%"
    return few


def test_every_table_of_a_run(quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion) -> None:
    for name, table in all_tables.render(some(quick), info).items():
        assert as_markdown.render(table) == snapshot(name=name)


def test_every_table_says_that_caches_were_flushed(quick: pd.DataFrame, info: RunInfo) -> None:
    cold, warm = (
        [table.note for table in all_tables.render(run, info).values()] for run in (quick.assign(caches="cold"), quick)
    )
    assert all("flushed" in note for note in cold)
    assert not any("flushed" in note for note in warm)


def test_environment_shows_any_tree_with_readable_labels(info: RunInfo, snapshot: SnapshotAssertion) -> None:
    tree = {
        "git": None,
        "gpus": [{"name": "H100", "memory_bytes": 80e9}],
        "machine": {"cpu": "A Processor", "processor": PROCESSOR.to_json()},
        "worker": {"settings": {"a setting": True, "empty": []}},
    }
    table = table_environment.render(info_with(info, environment=tree))
    assert as_markdown.render(table) == snapshot
    [exact] = table.frame.loc[table.frame["what"] == "processor", "value"]
    assert json.loads(exact) == PROCESSOR.to_json()
    assert set(table_environment.facts(tree)) < set(table.rows)


def test_csv_of_ratios_has_every_number_in_full_and_its_unit_in_the_name(
    quick: pd.DataFrame, of_quick: dict[str, Table]
) -> None:
    rows = read(as_csv.render(of_quick["ratios"]))
    assert [float(row["seconds_per_call"] or "nan") for row in rows] == pytest.approx(
        quick["seconds"].to_list(), rel=1e-12, nan_ok=True
    )
    assert {"ratio_to_torch_nn", "ratio_to_torch_nn_low", "parity_relative_error", "batch_size"} <= set(rows[0])


def test_a_case_without_counts_does_not_hide_those_of_another(notebook: pd.DataFrame, info: RunInfo) -> None:
    hoisted = notebook["implementation"] == "hoisted"
    notebook.loc[hoisted, ["parameters", "mult_adds", "step_macs"]] = float("nan")
    notebook.loc[hoisted, ["input_bytes", "forward_backward_bytes", "parameter_bytes"]] = float("nan")
    assert not any("—" in row for row in all_tables.render(notebook, info)["parameters"].rows)


@given(st.text())
def test_markdown_text_stays_in_its_cell_and_holds_no_markup(text: str) -> None:
    escaped = escape(text)
    assert not UNESCAPED_PIPE.search(escaped)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[]", escaped)


@given(st.text())
def test_markdown_escapes_give_the_text_back(text: str) -> None:
    plain = re.sub(r"\\([\\`*_\[\]|~#])", r"\1", escape(text))
    assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == one_line(text)


@given(st.text())
def test_text_never_starts_a_formula(text: str) -> None:
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert guarded(text).removeprefix("'") == text.removeprefix("'")


@pytest.mark.parametrize("sign", ["\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_full_width_signs_start_no_formula_either(sign: str) -> None:
    assert guarded(f"{sign}1+1") == f"'{sign}1+1"


def test_only_text_is_guarded(quick: pd.DataFrame, info: RunInfo) -> None:
    evil = renamed(quick, "gru", "=HYPERLINK(1):X")
    evil["parity_error"] = -1.5
    rows = read(as_csv.render(all_tables.render(evil, info)["ratios"]))
    assert {row["cell"] for row in rows} >= {"'=HYPERLINK(1):X", "vanilla"}
    assert rows[0]["parity_relative_error"] == "-1.5"


def test_every_markdown_row_has_the_same_number_of_cells(quick: pd.DataFrame, info: RunInfo) -> None:
    for table in all_tables.render(renamed(quick, "gru", "a|b`<script>\n.py:X"), info).values():
        rows = [line for line in as_markdown.render(table).splitlines() if line.startswith("|")]
        assert {len(UNESCAPED_PIPE.findall(row)) for row in rows} == {len(table.headers) + 1}, table.name


POOR = [
    with_one_replicate,
    with_none_measured,
    without_reference,
    of_an_older_version,
    with_unknown_metrics,
    lambda summary: summary.head(0),
]


@pytest.mark.parametrize("change", POOR)
def test_poor_runs_have_all_tables(quick: pd.DataFrame, info: RunInfo, change: type) -> None:
    for table in all_tables.render(change(quick), info).values():
        assert "nan" not in as_markdown.render(table)
        assert as_csv.render(table).count("\n") >= 1


def test_a_long_table_ends_for_readers_and_not_for_programs(quick: pd.DataFrame, info: RunInfo, monkeypatch) -> None:
    monkeypatch.setattr("rnnbench.report.tables.table.MAX_ROWS", 10)
    tables = all_tables.render(quick, info)
    ratios = tables["ratios"]
    assert (len(ratios.rows), ratios.total) == (10, len(quick))
    assert ratios.note.endswith(f"Here are the first 10 of {len(quick)} rows; tables/ratios.csv has all.")
    assert len(read(as_csv.render(ratios))) == len(quick)
    assert len(tables["medians"].rows) == 10
