"""Frames of a stored run: a row for each window and each case, also of older versions.

Windows of another run are refused: they would be counted as measurements.
"""

import json
import math
import shutil
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pandas as pd
import pytest

import rnnbench
from rnnbench import load
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.start import read_state
from rnnbench.store.folder import RunFolder, read_info, run_id
from rnnbench.store.frames import QUANTILES, SCHEMA, read_windows
from rnnbench.store.records import AXES, Measurement, Window
from tests.doubles import stored
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
    path = folder(tmp_path, {LOOP: [[1.0]], REFERENCE: [[0.5]]}, resolved={"measure": measure})
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


COMMITTED = Path(__file__).parents[2] / "results" / "notebook-20261125T021859Z-cb51"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def make_run(parent: Path) -> Path:
    return stored.folder(parent, {LOOP: [[2.0]] * 3, REFERENCE: [[1.0]] * 3})


def older(path: Path) -> Path:
    """Turn a run into one of an older version, without ids."""
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({key: value for key, value in info.items() if key != "id"}))
    for file in path.glob("windows-*.jsonl"):
        file.write_text(file.read_text().replace(f',"run":"{info["id"]}"', ""))
    return path


def assert_refused(path: Path, words: str) -> None:
    """Check that all readers of a run's windows refuse them with the same message."""
    for read in (lambda path: load(path).windows, read_state):
        with pytest.raises(UserError, match=words):
            read(path)


def test_every_window_says_which_run_it_is_of_also_after_a_resumption(run: Path) -> None:
    reopened = RunFolder(run)
    reopened.add_window(stored.window(LOOP, 3, [2.0], turns=2))
    reopened.close()
    assert {window.run for window in read_windows(run, (LOOP.key, REFERENCE.key))} == {run_id(run)} != {""}
    assert len(load(run).windows) == 7


def test_a_file_of_another_run_of_the_same_suite_is_refused_whether_it_replaces_one_or_is_added(
    run: Path, tmp_path: Path
) -> None:
    other = make_run(tmp_path)
    shutil.copy(other / "windows-0001.jsonl", run / "windows-0001.jsonl")
    assert_refused(
        run,
        rf"windows-0001\.jsonl: run: expected '{run_id(run)}', found '{run_id(other)}'; the file is another run's",
    )


def test_a_file_of_another_worker_is_refused(run: Path) -> None:
    shutil.copy(run / "windows-0001.jsonl", run / "windows-0007.jsonl")
    assert_refused(run, r"windows-0007\.jsonl: worker: expected '0007', found '0001'")


def test_a_torn_last_line_is_harmless(run: Path) -> None:
    file = run / "windows-0001.jsonl"
    file.write_text(file.read_text() + file.read_text()[:50])
    assert len(load(run).windows) == 6
    assert len(read_state(run).visits) == 3


def test_a_run_of_an_older_version_is_read_and_gone_on_with(run: Path) -> None:
    older(run)
    reopened = RunFolder(run)
    reopened.write_info(read_info(run))
    reopened.add_window(stored.window(LOOP, 3, [2.0], turns=2))
    reopened.close()
    assert len(load(run).windows) == 7
    assert read_info(COMMITTED).id == ""
    assert len(read_state(COMMITTED).visits) > 0


def test_a_window_of_a_case_that_the_run_does_not_have_is_refused(run: Path) -> None:
    file = run / "windows-0001.jsonl"
    file.write_text(file.read_text().replace(REFERENCE.key, small.case("gru").key))
    assert_refused(run, r"windows-0001\.jsonl: case: measurements\.jsonl has no 'cell=gru")


def test_the_schema_of_tables_is_that_of_the_records() -> None:
    needed = {each.name for each in fields(Window) if each.default is MISSING}
    assert (SCHEMA.names, needed) == (
        [each.name for each in fields(Window)],
        {field.name for field in SCHEMA if not field.nullable},
    )


ODD = (b"{oops}", b"null", b'{"calls":1.5}', b'{"calls":9223372036854775808}', b'{"case":"\\ud800"}')


@pytest.mark.parametrize("line", ODD)
def test_a_line_that_is_no_window_is_told_with_its_file_by_every_reader(run: Path, line: bytes) -> None:
    with (run / "windows-0001.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert_refused(run, r"windows-0001\.jsonl: a line is no window: ")


def test_a_windows_line_is_short_and_keeps_nanoseconds_and_never_becomes_zero() -> None:
    line = replace(stored.window(LOOP, 0, [1 / 3e4]), seconds=0.01000000004, started=1e-12).to_json()
    assert (line["seconds"], line["quantiles"], line["started"]) == (0.01, [3.33333e-05], 1e-12)
