"""Files of windows that were removed from a run, or were not copied with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench import load
from rnnbench.analysis import stored
from rnnbench.analysis.runs.run_times import read_whole
from rnnbench.errors import UserError
from rnnbench.store.folder import info_bytes, read_info
from tests.doubles import stored as made
from tests.doubles import workload as small
from tests.doubles.commands import in_process

GRU, LAYER = small.case("gru"), small.reference_case("gru")
TIMES = {case: [[0.002], [0.002], [0.002]] for case in (GRU, LAYER)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three replicates, with a file of windows for each."""
    return finished(made.folder(tmp_path, TIMES), 3)


def finished(path: Path, replicates: int) -> Path:
    info = replace(read_info(path), status="finished", replicates=replicates)
    (path / "run.json").write_bytes(info_bytes(info))
    return path


def test_a_whole_run_has_no_such_note(run: Path) -> None:
    assert read_whole(run)[0].notes == []


def test_a_run_without_any_windows_is_refused_wherever_it_is_read(run: Path, tmp_path: Path) -> None:
    for file in run.glob("windows-*.jsonl"):
        file.unlink()
    words = f"{run}: 2 cases are marked as measured, but all windows are missing: windows-*.jsonl; restore these files"
    other = made.folder(tmp_path / "other", TIMES)
    for arguments in (("report", run), ("export", run, "--format", "csv"), ("compare", run, other)):
        done = in_process(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    with pytest.raises(UserError, match="all windows are missing"):
        load(run)


def test_a_lost_file_is_named_and_the_rest_is_read(run: Path, tmp_path: Path) -> None:
    (run / "windows-0001.jsonl").unlink()
    words = "indows are missing: 1 of 3 finished replicates has none (windows-0001.jsonl is not there)"
    exported = in_process("export", run, "--format", "csv", cwd=tmp_path, code=0)
    assert words in exported.stderr
    in_process("report", run, "--out", "page", cwd=tmp_path, code=0)
    assert words in (tmp_path / "page" / "index.html").read_text()
    assert words in repr(load(run)).replace("\n", " ")
    other = finished(made.folder(tmp_path / "other", TIMES), 3)
    notes = stored.compare(stored.read(other), stored.read(run), {GRU.key: 0.05}).notes
    assert f"{run.name}: w{words}; nothing here counts what they held" in notes
    for option in ("--together", "--history"):
        in_process("report", option, other, run, "--out", option[2:], cwd=tmp_path, code=0)
        assert f"{run.name}: w{words}" in (tmp_path / option[2:] / "index.html").read_text()


def test_the_last_file_is_missed_too(run: Path) -> None:
    (run / "windows-0002.jsonl").unlink()
    assert read_whole(run)[0].notes[0].startswith("windows are missing: 1 of 3 finished replicates has none;")


def test_cases_that_lost_all_of_their_windows_are_counted(tmp_path: Path) -> None:
    path = finished(made.folder(tmp_path, {**TIMES, small.case("lstm"): []}), 3)
    assert "1 of 3 cases that are marked as measured has none" in read_whole(path)[0].notes[0]


def test_a_run_that_was_cut_off_before_its_first_replicate_lacks_nothing(tmp_path: Path) -> None:
    assert read_whole(made.folder(tmp_path, {GRU: []}))[0].notes == []
