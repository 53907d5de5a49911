import csv as plain
import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench import load
from rnnbench.report.export import csv
from rnnbench.report.export.exported import ExportedRun
from rnnbench.report.tables.formats import as_csv as reports_csv
from rnnbench.store import ceilings
from rnnbench.store.frames import QUANTILES
from tests.report.conftest import CEILING

from .conftest import FAILED, LOOP, OPERATORS, SKIPPED, WHY, Run

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def table(run: ExportedRun) -> pd.DataFrame:
    text = csv.render(run)
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""]).set_index("case", drop=False)


def test_pandas_reads_a_row_for_every_case_with_its_status_and_reason(run: Run) -> None:
    frame = table(run.exported)
    assert list(frame["case"]) == list(run.summary["case"])
    assert frame.loc[SKIPPED.key, "status"] == "skipped"
    assert frame.loc[FAILED.key, "reason"] == f"'{WHY}"
    assert frame.loc[[SKIPPED.key, FAILED.key], "seconds"].isna().all()


def test_columns_have_the_names_of_frames_and_values_keep_all_digits(run: Run) -> None:
    row = table(run.exported).loc[LOOP.key]
    assert row["seconds"] == pytest.approx(run.row(LOOP)["seconds"], rel=1e-12)
    assert f",{run.row(LOOP)['seconds']!r}," in csv.render(run.exported)
    assert row["ratio_low"] == pytest.approx(run.row(LOOP)["ratio_low"], rel=1e-12)
    assert row["operators"] == OPERATORS
    assert json.loads(str(row["missing"])) == {"macs": "=why"}


def test_each_row_says_where_it_comes_from(run: Run) -> None:
    environment = {
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "machine": {"cpu": "AMD EPYC 7B13"},
        "worker": {"torch": "2.13.0"},
        "slurm": {"nodes": ["n1", "n2"]},
    }
    known = replace(run.exported, info=replace(run.exported.info, environment=environment))
    for exported in (known, replace(run.of_windows, info=known.info)):
        frame = table(exported)
        assert set(frame["commit"]) == {"0123456789abcdef+"}
        assert set(frame["processor"]) == {"AMD EPYC 7B13"}
        assert set(frame["node"]) == {"n1, n2"}
        assert set(frame["torch"]) == {"2.13.0"}
    unknown = replace(run.exported, info=replace(run.exported.info, environment={}))
    assert table(unknown)[["commit", "processor", "node", "torch"]].isna().all(axis=None)


def test_a_row_for_each_window_where_they_are_asked_for(run: Run) -> None:
    frame = table(run.of_windows)
    assert len(frame) == len(load(run.path).windows)
    row = frame.loc[LOOP.key].iloc[0]
    assert row[list(QUANTILES[:3])].tolist() == pytest.approx([0.0003] * 3)
    assert row["cores"] == 0


def test_a_ceiling_is_json(run: Run) -> None:
    text = csv.render(replace(run.exported, summary=run.summary.assign(ceiling=CEILING.to_text())))
    [first, *_] = plain.DictReader(io.StringIO(text))
    assert ceilings.of_text(first["ceiling"]) == CEILING


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=5))
def test_no_text_is_a_formula_and_none_is_lost(texts: list[str]) -> None:
    rows = list(plain.reader(io.StringIO(reports_csv.of_frame(pd.DataFrame({"a": texts, "b": 1.5})), newline="")))
    assert rows[0] == ["a", "b"]
    assert [row[1] for row in rows[1:]] == ["1.5"] * len(texts)
    for (written, _), text in zip(rows[1:], texts, strict=True):
        assert not written.startswith(FORMULAS)
        plainly = text.replace("\r\n", "\n").replace("\r", "\n")
        assert written == (f"'{plainly}" if text.startswith(FORMULAS) else plainly)
