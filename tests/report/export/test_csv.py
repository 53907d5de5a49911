import csv as plain
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.report.export import csv
from rnnbench.report.tables.formats import as_csv as reports_csv
from tests.report.conftest import CEILING

from .conftest import FAILED, LOOP, OPERATORS, SKIPPED, WHY, Run

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def table(run: Run, *, windows: bool = False) -> pd.DataFrame:
    text = csv.render(run.frame, run.summary, run.info, windows=windows)
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""]).set_index("case", drop=False)


def test_pandas_reads_a_row_for_every_case_with_its_status_and_reason(run: Run) -> None:
    frame = table(run)
    assert list(frame["case"]) == list(run.summary["case"])
    assert frame.loc[SKIPPED.key, "status"] == "skipped"
    assert frame.loc[FAILED.key, "reason"] == f"'{WHY}"
    assert frame.loc[[SKIPPED.key, FAILED.key], "seconds_per_call"].isna().all()


def test_units_and_references_stand_in_the_names_and_values_keep_all_digits(run: Run) -> None:
    row = table(run).loc[LOOP.key]
    assert row["seconds_per_call"] == pytest.approx(run.row(LOOP)["seconds"], rel=1e-12)
    assert f",{run.row(LOOP)['seconds']!r}," in csv.render(run.frame, run.summary, run.info, windows=False)
    assert row["ratio_to_torch_nn_low"] == pytest.approx(run.row(LOOP)["ratio_low"], rel=1e-12)
    assert row["operators"] == OPERATORS
    assert json.loads(str(row["missing"])) == {"macs": "=why"}


def test_a_row_for_each_window_where_they_are_asked_for(run: Run) -> None:
    frame = table(run, windows=True)
    assert len(frame) == len(run.frame)
    row = frame.loc[LOOP.key].iloc[0]
    assert json.loads(row["quantiles_seconds_per_call"]) == pytest.approx([0.0003] * 3)
    assert json.loads(row["cores"]) == [0]
    assert frame.loc[SKIPPED.key, "status"] == "skipped"


def test_a_ceiling_is_json(run: Run) -> None:
    summary = run.summary.assign(ceiling=pd.Series([CEILING] * len(run.summary), dtype=object))
    text = csv.render(run.frame, summary, run.info)
    [first, *_] = plain.DictReader(io.StringIO(text))
    assert json.loads(first["ceiling"]) == {
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "macs_per_second": 51.9e9,
        "copies": [[size, rate.value] for size, rate in CEILING.copies],
        "reads": [],
        "dispatch_seconds": CEILING.dispatch_seconds,
        "launch_seconds": None,
    }


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=5))
def test_no_text_is_a_formula_and_none_is_lost(texts: list[str]) -> None:
    rows = list(plain.reader(io.StringIO(reports_csv.of_frame(pd.DataFrame({"a": texts, "b": 1.5})), newline="")))
    assert rows[0] == ["a", "b"]
    assert [row[1] for row in rows[1:]] == ["1.5"] * len(texts)
    for (written, _), text in zip(rows[1:], texts, strict=True):
        assert not written.startswith(FORMULAS)
        plainly = text.replace("\r\n", "\n").replace("\r", "\n")
        assert written == (f"'{plainly}" if text.startswith(FORMULAS) else plainly)
