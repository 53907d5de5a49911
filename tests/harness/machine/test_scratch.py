"""Temporary folders: removed at the end, or at the next start if their process was killed; never those of others."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.harness.machine.scratch import scratch

OWNER = """
import os, signal, sys
from rnnbench.harness.machine.scratch import scratch
with scratch("trial") as folder:
    (folder / "file").write_text("left behind")
    print(folder, flush=True)
    os.kill(os.getpid(), int(sys.argv[1])) if len(sys.argv) > 1 else sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_and_gone_at_the_end(temporary: Path) -> None:
    with scratch("trial") as folder:
        assert folder.parent == temporary
        (folder / "file").write_text("x")
    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_is_removed_at_the_next_start_and_nothing_else(temporary: Path) -> None:
    (temporary / "rnnbench-elsewhere").mkdir()
    (temporary / "rnnbench.link").symlink_to(temporary / "rnnbench-elsewhere")
    dead = subprocess.run([sys.executable, "-c", OWNER, str(int(signal.SIGKILL))], capture_output=True, check=False)
    abandoned = Path(os.fsdecode(dead.stdout.strip()))
    assert (abandoned / "file").exists()
    lives = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert lives.stdout is not None
    live_folder = Path(lives.stdout.readline().strip())
    with scratch("other"):
        assert not abandoned.exists()
        assert (live_folder / "file").exists()
    lives.communicate("")
    assert sorted(path.name for path in temporary.iterdir()) == ["rnnbench-elsewhere", "rnnbench.link"]


def left_behind() -> Path:
    """A folder whose process was killed."""
    dead = subprocess.run([sys.executable, "-c", OWNER, str(int(signal.SIGKILL))], capture_output=True, check=False)
    return Path(os.fsdecode(dead.stdout.strip()))


def test_folders_of_other_people_stay_whatever_they_are_called(temporary: Path) -> None:
    for name in ("rnnbench.mine", "rnnbench.git", "rnnbench.base.abcd1234", "rnnbench.results"):
        (temporary / name).mkdir()
        (temporary / name / "work").write_text("of years")
    (temporary / "rnnbench.empty").mkdir()
    (temporary / "rnnbench.file").write_text("a file")
    before = sorted(temporary.rglob("*"))
    with scratch("trial"):
        assert set(before) < set(temporary.rglob("*"))
    assert sorted(temporary.rglob("*")) == before


def test_a_copy_and_a_moved_folder_are_the_users_though_they_have_the_marker(temporary: Path) -> None:
    shutil.copytree(left_behind(), temporary / "rnnbench.copy")
    left_behind().rename(temporary / "rnnbench.moved")
    (temporary / "below").mkdir()
    third = left_behind()
    third.rename(temporary / "below" / third.name)
    shutil.copytree(temporary / "below" / third.name, third)  # the same path, but another folder
    with scratch("trial"):
        pass
    names = {path.name for path in temporary.iterdir()}
    assert names == {"rnnbench.copy", "rnnbench.moved", "below", third.name}
    assert (temporary / "rnnbench.copy" / "file").read_text() == "left behind"


@pytest.mark.parametrize("marker", ["link", "pipe", "folder", "other words"])
def test_a_marker_that_rnnbench_did_not_write_is_none(temporary: Path, marker: str) -> None:
    folder = left_behind()
    file = next(folder.glob(".*"))
    words = file.read_bytes()
    file.unlink()
    match marker:
        case "link":
            (temporary / "words").write_bytes(words)
            file.symlink_to(temporary / "words")
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case _:
            file.write_bytes(words + b"\n")
    with scratch("trial"):
        pass
    assert (folder / "file").exists()


def test_a_removal_that_is_cut_off_is_gone_on_with_at_the_next_start(temporary: Path) -> None:
    folder = left_behind()
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_text("x")
    (folder / "file").unlink()  # the part that was removed before the cut
    with scratch("trial"):
        assert not folder.exists()


def test_no_room_is_told_in_words(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "nowhere"))
    with pytest.raises(UserError, match=r"no temporary folder can be made: .*; set TMPDIR to a folder that has room"):
        scratch("trial").__enter__()
