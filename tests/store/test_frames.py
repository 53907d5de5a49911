"""Frames of a stored run: a row for each window and each case.

Windows of another run are refused: they would be counted as measurements.
"""

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import rnnbench
from rnnbench import load
from rnnbench.cli import cli
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.start import read_earlier_run
from rnnbench.store.folder import RunFolder, run_id
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


def assert_refused(path: Path, words: str) -> None:
    """Check that all readers of a run's windows refuse them with the same message."""
    for read in (lambda path: load(path).windows, read_earlier_run):
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
    assert len(read_earlier_run(run).visits) == 3


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


ODD = [
    (b"{oops}", "not JSON: "),
    (b"null", "expected an object, found null"),
    (b'{"calls":1.5}', "case: missing"),
    (b'{"case":"\\ud800"}', "not JSON: "),
]


@pytest.mark.parametrize(("line", "words"), ODD)
def test_a_line_that_is_no_window_is_told_with_its_place_by_every_reader(run: Path, line: bytes, words: str) -> None:
    with (run / "windows-0001.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert_refused(run, rf"windows-0001\.jsonl, line 3: {words}")


def change_line(file: Path, number: int, changes: dict[str, object]) -> None:
    """Give fields of a line other values."""
    lines = file.read_text().splitlines()
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | changes)
    file.write_text("\n".join(lines) + "\n")


IMPOSSIBLE: list[tuple[dict[str, object], str]] = [
    ({"calls": 0}, "calls: expected 1 or more, found 0"),
    ({"calls": 1.5}, "calls: expected a whole number"),
    ({"calls": 1 << 63}, "calls: expected less than"),
    ({"calls": None}, "calls: expected a whole number, found None"),
    ({"turns": 0}, "turns: expected 1 or more, found 0"),
    ({"replicate": -1}, "replicate: expected 0 or more, found -1"),
    ({"order": -1}, "order: expected 0 or more, found -1"),
    ({"waits": 0}, "waits: expected 1 or more, found 0"),
    ({"seconds": -1}, "seconds: expected greater than 0, found -1"),
    ({"seconds": 0}, "seconds: expected greater than 0, found 0"),
    ({"seconds": math.inf}, "seconds: expected a finite number, found inf"),
    ({"seconds": math.nan}, "seconds: expected a finite number, found nan"),
    ({"host_seconds": -math.inf}, "host_seconds: expected a finite number, found -inf"),
    ({"submit_seconds": -1}, "submit_seconds: expected 0 or more, found -1"),
    ({"quantiles": []}, "quantiles: expected at least one value"),
    ({"quantiles": [1.0, -1.0]}, "quantiles: expected greater than 0, found -1"),
    ({"quantiles": [1.0, math.inf]}, "quantiles: expected a finite number, found inf"),
]


def readers_of(run: Path, other: Path) -> dict[str, Callable[[], object]]:
    """Return what reads the windows of a run, also as one of two."""

    def command(*arguments: str) -> Callable[[], str]:
        def told() -> str:
            result = CliRunner().invoke(cli, arguments)
            return f"{result.output} {result.exception}"

        return told

    return {
        "load": lambda: load(run),
        "windows": lambda: load(run).windows,
        "resume": lambda: read_earlier_run(run),
        "report": command("report", str(run)),
        "together": command("report", "--together", str(run), str(other)),
        "compare": command("compare", str(other), str(run)),
        "export": command("export", str(run), "--format", "csv"),
        "export of windows": command("export", str(run), "--format", "csv", "--windows"),
    }


@pytest.mark.parametrize(("changes", "words"), IMPOSSIBLE, ids=[words for _, words in IMPOSSIBLE])
def test_an_impossible_value_is_refused_with_its_file_and_line(
    run: Path, changes: dict[str, object], words: str
) -> None:
    change_line(run / "windows-0001.jsonl", 2, changes)
    assert_refused(run, rf"windows-0001\.jsonl, line 2: {re.escape(words)}")


@pytest.mark.parametrize("fault", ["impossible", "twice"])
def test_every_reader_refuses_damaged_windows(run: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    readers = readers_of(run, make_run(run.parent))
    file = run / "windows-0001.jsonl"
    if fault == "impossible":
        change_line(file, 2, {"seconds": -1.0})
    else:
        file.write_text(file.read_text() * 2)
    line = 2 if fault == "impossible" else 3
    for name, read in readers.items():
        try:
            told = str(read())
        except UserError as error:
            told = str(error)
        assert f"windows-0001.jsonl, line {line}: " in " ".join(told.split()), name


def test_a_window_that_is_there_twice_is_refused_though_its_times_are_others(run: Path) -> None:
    file = run / "windows-0001.jsonl"
    first = json.loads(file.read_text().splitlines()[0])
    with file.open("a") as lines:
        lines.write("\n" + json.dumps(first | {"seconds": 3.0}) + "\n")
    assert_refused(run, r"line 4: the same window as in line 1: equal case, replicate and order")


def test_frames_of_a_user_with_damaged_windows_are_refused_too(run: Path) -> None:
    windows = load(run).windows
    twice = pd.concat([windows, windows.iloc[:1]], ignore_index=True)
    with pytest.raises(UserError, match="windows: row 6 is the same window as row 0"):
        rnnbench.summarize(twice)
    for name, value in (("calls", 0), ("seconds", -1.0), ("seconds", math.nan), ("quantile_0", math.inf)):
        damaged = windows.copy()
        damaged.loc[2, name] = value
        with pytest.raises(UserError, match=r"windows: row 2: "):
            rnnbench.summarize(damaged)


def test_a_windows_line_is_short_and_keeps_nanoseconds_and_never_becomes_zero() -> None:
    line = replace(stored.window(LOOP, 0, [1 / 3e4]), seconds=0.01000000004, started=1e-12).to_json()
    assert (line["seconds"], line["quantiles"], line["started"]) == (0.01, [3.33333e-05], 1e-12)
