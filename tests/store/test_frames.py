"""Frames of a stored run: a row for each window and each case, also of older versions."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import rnnbench
from rnnbench.store.folder import RunFolder, read_info
from rnnbench.store.frames import QUANTILES
from rnnbench.store.records import AXES, Measurement
from tests.doubles import workload as small
from tests.doubles.stored import folder, rows

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()
SKIPPED = small.case("combined", "hoisted")


def test_every_window_is_a_row_with_its_cases_axes(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0], [2.0, 3.0]], REFERENCE: [[0.5], [0.5]]})
    frame = rows(path)
    assert len(frame) == 4
    assert dict(frame.iloc[1][list(AXES)]) == LOOP.axes()
    assert frame["calls"].tolist() == [1, 2, 1, 1]
    assert frame["run"].unique().tolist() == [path.name]


@pytest.mark.parametrize(
    ("measure", "caches"), [({}, "warm"), ({"cold_cache": False}, "warm"), ({"cold_cache": True}, "cold")]
)
def test_a_run_whose_caches_were_a_setting_has_them_as_an_axis(
    tmp_path: Path, measure: dict[str, bool], caches: str
) -> None:
    path = folder(tmp_path, {LOOP: [[1.0]], REFERENCE: [[0.5]]})
    run = RunFolder(path)
    run.write_info(replace(read_info(path), resolved={"measure": measure}))
    run.close()
    cases = path / "measurements.jsonl"  # in which an older run has no such axis
    cases.write_text(cases.read_text().replace('"caches":"warm",', "").replace('"caches": "warm", ', ""))
    assert rows(path)["caches"].tolist() == [caches, caches]
    assert rnnbench.summarize(rnnbench.load(path))["caches"].tolist() == [caches, caches]


def test_a_case_without_windows_keeps_a_row_with_its_reason(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0]]}, [Measurement(SKIPPED, "skipped", "nothing to hoist")])
    row = rows(path).set_index("case").loc[SKIPPED.key]
    assert (row["status"], row["reason"]) == ("skipped", "nothing to hoist")
    assert pd.isna(row["seconds"])


def test_the_last_line_of_a_case_counts_and_the_first_gives_its_place(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0]], REFERENCE: [[1.0]]}, [Measurement(LOOP, "failed", "the worker died")])
    frame = rows(path)
    assert frame["case"].tolist() == [LOOP.key, REFERENCE.key]
    assert frame["status"].tolist() == ["failed", "measured"]


def test_a_run_without_a_single_window_is_read(tmp_path: Path) -> None:
    assert rows(folder(tmp_path, {LOOP: []}))["status"].tolist() == ["measured"]


def test_a_run_from_before_there_were_data_sets_has_no_samples(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0]], REFERENCE: [[0.5]]})
    file = path / "measurements.jsonl"
    old = file.read_text().replace(',"samples":0,"workers":0', "")
    assert "samples" not in old
    file.write_text(old)
    frame = rows(path)
    assert dict(frame.iloc[0][list(AXES)]) == LOOP.axes()
    assert rnnbench.summarize(rnnbench.load(path))["ratio"].tolist() == [2.0, 1.0]


def test_quantiles_have_a_column_each_and_cores_are_text(tmp_path: Path) -> None:
    path = folder(tmp_path, {LOOP: [[1.0, 3.0]]}, [Measurement(SKIPPED, "skipped", "nothing to hoist")])
    [row] = rnnbench.load(path).windows.to_dict("records")
    assert [row[name] for name in QUANTILES[:2]] == [1.0, 3.0]
    assert all(math.isnan(row[name]) for name in QUANTILES[2:])
    assert row["cores"] == "0"
