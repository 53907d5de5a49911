"""A run from start to end, also when the disk or the user ends it early."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator import session
from rnnbench.harness.coordinator.resume import RunState
from rnnbench.harness.coordinator.session import resume_run, run_suite
from rnnbench.store.folder import RunFolder, last_measurements, read_info
from rnnbench.store.run_info import RunInfo
from rnnbench.suite import suites
from tests.doubles import stored
from tests.doubles import workload as small

SUITE = """
name = "tiny"
[measure]
replicates = 1
max_replicates = 1
windows = 2
window_seconds = 0.001
[[sweep]]
cell = "gru"
batch_size = 1
seq_len = 2
hidden_size = 4
"""


def run(folder: Path, on_progress: Any = lambda step: None) -> Path:
    (folder / "tiny.toml").write_text(SUITE)
    suite = suites.read(str(folder / "tiny.toml"))
    groups = suite.groups({}, None, most=None)
    return run_suite(suite, groups, suite.settings, out=folder / "out", command="x", on_progress=on_progress)


def test_a_full_disk_is_told_in_a_line_and_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: RunFolder, *windows: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_window", full)
        with pytest.raises(UserError, match=r"tiny-.*: can't be written: No space left on device; what it holds"):
            run(tmp_path)
    [path] = (tmp_path / "out").iterdir()
    assert read_info(path).status == "interrupted"
    suite = suites.read(str(tmp_path / "tiny.toml"))
    resume_run(path, suite, suite.settings, command="y", on_progress=lambda step: None)
    assert read_info(path).status == "finished"


def test_ctrl_c_says_where_the_measurements_are_and_a_run_has_all_of_its_cases_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_info, counts = RunFolder.write_info, list[int]()

    def look(folder: RunFolder, info: RunInfo) -> None:
        counts.append(len(last_measurements(folder.path)))
        write_info(folder, info)

    monkeypatch.setattr(RunFolder, "write_info", look)

    def stop(step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"what was measured is in .*tiny-.* and can be resumed"):
        run(tmp_path, on_progress=stop)
    assert set(counts) == {2}


def test_a_run_is_not_resumed_as_another_suite(tmp_path: Path) -> None:
    path = stored.folder(tmp_path, {small.case("gru"): [[0.002]]})
    quick = suites.read("quick")
    with pytest.raises(UserError, match="a run of the suite 'test', not of 'quick'"):
        resume_run(path, quick, quick.settings, command="y", on_progress=lambda step: None)


def test_no_device_is_told_before_a_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE)
    suite = suites.read(str(tmp_path / "tiny.toml"))
    groups = suite.groups({}, "tpu", most=None)
    with pytest.raises(session.NoDevice, match="no device 'tpu'"):
        run_suite(suite, groups, suite.settings, out=tmp_path / "out", command="x", on_progress=lambda step: None)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_of_a_run_that_can_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: RunFolder, info: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_info", full)
    with pytest.raises(UserError, match=r"out: can't be written: No space left on device; give another folder"):
        run(tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_a_run_that_another_goes_on_with_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored.folder(tmp_path, {small.case("gru"): [[0.002]]})
    (tmp_path / "test.toml").write_text(SUITE.replace("tiny", stored.INFO.suite))
    suite = suites.read(str(tmp_path / "test.toml"))
    monkeypatch.setattr(session, "read_state", pytest.fail)  # its result would be out of date once the folder is free
    other = RunFolder(path)
    with pytest.raises(UserError, match="another rnnbench is writing to this run; wait for it"):
        resume_run(path, suite, suite.settings, command="y", on_progress=lambda step: None)
    other.close()


def test_a_resumed_run_knows_the_sweeps_of_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run(tmp_path)
    sweeps: list[int] = []

    def look(groups: Any, *_: Any, **__: Any) -> None:
        sweeps.extend(group.sweep for group in groups)
        raise UserError("seen enough")

    with monkeypatch.context() as patch:
        patch.setattr(session, "started", look)
        suite = suites.read(str(tmp_path / "tiny.toml"))
        first = suite.content.sweep[0]
        other = suite.content.model_copy(update={"sweep": [first.model_copy(update={"batch_size": (9,)}), first]})
        patch.setattr(session, "refuse_other_suite", lambda *_: None)
        with pytest.raises(UserError, match="seen enough"):
            resume_run(path, replace(suite, content=other), suite.settings, command="y", on_progress=lambda step: None)
    assert sweeps == [1]


@pytest.mark.parametrize(
    ("spent", "to_last_window", "words"),
    [
        (None, 0.0, "resumed by: rnnbench run"),  # killed before its first window
        (None, 5.2, "resumed after 6 s by: rnnbench run"),
        (20.0, 0.0, "resumed after 20 s by: rnnbench run"),  # all of it was spent on observing
        (20.0, 1234.0, "resumed after 1,234 s by: rnnbench run"),  # killed after it was resumed before
    ],
)
def test_a_resumed_run_says_after_how_long_if_that_is_known(
    spent: float | None, to_last_window: float, words: str
) -> None:
    info = RunInfo("test", "", {}, "", "", {}, seconds=spent)
    assert session._resumed(info, RunState(seconds=to_last_window), "rnnbench run") == words
