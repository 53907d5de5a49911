import csv as reader
import io
import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_every_case_keeps_its_row_with_its_reason(quick: pd.DataFrame, of_quick: dict[str, Table]) -> None:
    ratios = of_quick["ratios"]
    assert len(ratios.rows) == len(quick)
    skipped = [row for row in ratios.rows if row[0] == "combined hoisted"]
    assert len(skipped) == 16
    assert all(row[-1].startswith("skipped: combined has one product") for row in skipped)


def test_each_workload_starts_with_its_torch_layer(of_quick: dict[str, Table]) -> None:
    ratios = of_quick["ratios"]
    assert len(ratios.breaks) == 50  # the groups of the suite
    assert all(ratios.rows[start][0].startswith("torch.nn.") for start in ratios.breaks)


def test_csv_of_ratios_has_every_number_in_full_and_its_unit_in_the_name(
    quick: pd.DataFrame, of_quick: dict[str, Table]
) -> None:
    rows = read(as_csv.render(of_quick["ratios"]))
    assert [float(row["seconds_per_call"] or "nan") for row in rows] == pytest.approx(
        quick["seconds"].to_list(), rel=1e-12, nan_ok=True
    )
    assert {"ratio_to_torch_nn", "ratio_to_torch_nn_low", "parity_relative_error", "batch_size"} <= set(rows[0])


def test_medians_are_those_of_the_cases(quick: pd.DataFrame, of_quick: dict[str, Table]) -> None:
    rows = read(as_csv.render(of_quick["medians"]))
    row = next(row for row in rows if (row["cell"], row["implementation"], row["phase"]) == ("gru", "loop", "training"))
    ratios = quick.query("cell == 'gru' and implementation == 'loop' and phase == 'training'")["ratio"]
    assert float(row["median_ratio_to_torch_nn"]) == pytest.approx(ratios.median())
    assert float(row["highest_ratio_to_torch_nn"]) == pytest.approx(ratios.max())


def test_parameters_are_shown_as_torchinfo_prints_them(notebook: pd.DataFrame, info: RunInfo) -> None:
    selected = (notebook["cell"] == "vanilla") & (notebook["batch_size"] == 32)
    figures = ["parameters", "step_macs", "mult_adds", "input_bytes", "forward_backward_bytes", "parameter_bytes"]
    notebook.loc[selected, figures] = [745, 22_400, 21_600, 1_280, 6_400, 2_980]
    table = all_tables.render(notebook, info)["parameters"]
    row = next(row for row in table.rows if row[:2] == ("vanilla", "32"))
    assert row == ("vanilla", "32", "10", "20", "5", "1", "745", "0.02", "0.02", "0.00", "0.01", "0.00", "0.01")
    assert any(row[0] == "torch.nn.RNN" for row in table.rows)


def test_a_case_without_counts_does_not_hide_those_of_another(notebook: pd.DataFrame, info: RunInfo) -> None:
    hoisted = notebook["implementation"] == "hoisted"
    notebook.loc[hoisted, ["parameters", "mult_adds", "step_macs"]] = float("nan")
    notebook.loc[hoisted, ["input_bytes", "forward_backward_bytes", "parameter_bytes"]] = float("nan")
    assert not any("—" in row for row in all_tables.render(notebook, info)["parameters"].rows)


def test_failures_come_first_and_say_which_cases(quick: pd.DataFrame, info: RunInfo) -> None:
    failed = quick.index[quick["cell"] == "gru"][:1]
    quick.loc[failed, ["status", "reason"]] = ["failed", "parity: off by 0.3\nin gradient"]
    table = all_tables.render(quick, info)["not_measured"]
    assert table.rows[0][:2] == ("gru loop", "failed")
    assert table.rows[0][2] == "1 of 16: inference, batch 1, length 16, hidden 64, 1 layer"
    assert table.rows[0][3] == "parity: off by 0.3 in gradient"
    assert ("combined hoisted", "skipped", "all 16") in [row[:3] for row in table.rows]


def test_every_table_says_that_caches_were_flushed(
    quick: pd.DataFrame, of_quick: dict[str, Table], info: RunInfo
) -> None:
    cold = all_tables.render(quick.assign(caches="cold"), info)
    assert all(table.note.endswith("Caches flushed before every call.") for table in cold.values())
    assert not any("flushed" in table.note for table in of_quick.values())


def test_environment_shows_any_tree_with_readable_labels(info: RunInfo) -> None:
    tree = {"a_key": None, "gpus": [{"name": "H100", "memory_bytes": 80e9}], "deep": {"er": {"flag": True, "n": []}}}
    table = table_environment.render(info_with(info, environment=tree))
    rows = {row[0]: row[1] for row in table.rows}
    assert rows["environment: a key"] == "not known"
    assert rows["gpus 0: name"] == "H100"
    assert rows["gpus 0: memory"] == "80.0 GB"
    assert rows["deep, er: flag"] == "yes"
    assert rows["deep, er: n"] == "none"
    assert rows["run: wall time"] == "63.2 s"


def test_a_processor_is_one_row_for_people_and_complete_for_programs(info: RunInfo) -> None:
    tree = {"machine": {"cpu": "A Processor", "processor": PROCESSOR.to_json()}}
    table = table_environment.render(info_with(info, environment=tree))
    words = (
        "A Maker family 25 model 17 stepping 1; avx2, fma; L3 32 MiB for 8 cores; microcode not known; "
        "no hypervisor known"
    )
    assert [row for row in table.rows if row[0].startswith("machine")] == [
        ("machine: cpu", "A Processor"),
        ("machine: processor", words),
    ]
    [exact] = table.frame.loc[table.frame["what"] == "processor", "value"]
    assert json.loads(exact) == PROCESSOR.to_json()
    assert table_environment.facts(tree)[1] == ("machine: processor", words)


def test_an_environment_on_a_terminal_has_a_name_for_each_of_its_values() -> None:
    tree = {"git": None, "worker": {"settings": {"a setting": True}}}
    assert table_environment.facts(tree) == [
        ("environment: git", "not known"),
        ("worker, settings: a setting", "yes"),
    ]


@given(st.text())
def test_markdown_text_stays_in_its_cell_and_holds_no_markup(text: str) -> None:
    escaped = escape(text)
    assert not UNESCAPED_PIPE.search(escaped)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[]", escaped)


def test_a_title_with_a_cells_name_holds_no_markup_in_markdown(of_quick: dict[str, Table]) -> None:
    title = "The operators of <img src=x>|`a`"
    titled = replace(of_quick["ratios"], title=title)
    assert as_markdown.render(titled).splitlines()[0] == f"## {escape(title)}"
    assert "<img" not in as_markdown.render(titled)


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


def test_the_limits_of_the_machine_are_lines_of_the_environment(info: RunInfo) -> None:
    rows = {row[0]: row[1] for row in table_environment.render(info).rows}
    assert rows["before the timing: observing"] == "4.00 s"
    assert rows["limits: cpu float32 1 thread"] == (
        "arithmetic 51.9 GMAC/s in BLAS; copies 25.8 GB/s of 134 MB, 94.6 GB/s at best; 450 ns an operator"
    )


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


def test_a_table_that_is_not_long_says_nothing_of_it(quick: pd.DataFrame, of_quick: dict[str, Table]) -> None:
    ratios = of_quick["ratios"]
    assert ratios.total == len(ratios.rows) == len(quick)
    assert "first" not in ratios.note


def test_a_suspicion_stands_beside_parity(quick: pd.DataFrame, info: RunInfo) -> None:
    quick.loc[quick["implementation"] != "torch.nn", "suspicion"] = "torch shows 12%"
    notes = [row[-1] for row in all_tables.render(quick, info)["ratios"].rows]
    assert "agrees; suspect: torch shows 12%" in notes
    assert not any("suspect" in note for note in notes if note.startswith("is the reference"))
