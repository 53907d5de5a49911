"""Temporary folders: gone at the end, and those of the dead at the next start; nobody else's ever."""

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
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_and_gone_at_the_end(place: Path) -> None:
    with scratch("trial") as folder:
        assert folder.parent == place
        (folder / "file").write_text("x")
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_at_the_next_start_and_nothing_else(place: Path) -> None:
    (place / "rnnbench-elsewhere").mkdir()
    (place / "rnnbench.link").symlink_to(place / "rnnbench-elsewhere")
    dead = subprocess.run([sys.executable, "-c", OWNER, str(int(signal.SIGKILL))], capture_output=True, check=False)
    abandoned = Path(os.fsdecode(dead.stdout.strip()))
    assert (abandoned / "file").exists()
    lives = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert lives.stdout is not None
    held = Path(lives.stdout.readline().strip())
    with scratch("other"):
        assert not abandoned.exists()
        assert (held / "file").exists()
    lives.communicate("")
    assert sorted(path.name for path in place.iterdir()) == ["rnnbench-elsewhere", "rnnbench.link"]


def left_behind() -> Path:
    """A folder whose owner was killed."""
    dead = subprocess.run([sys.executable, "-c", OWNER, str(int(signal.SIGKILL))], capture_output=True, check=False)
    return Path(os.fsdecode(dead.stdout.strip()))


def test_folders_of_other_people_stay_whatever_they_are_called(place: Path) -> None:
    for name in ("rnnbench.mine", "rnnbench.git", "rnnbench.base.abcd1234", "rnnbench.results"):
        (place / name).mkdir()
        (place / name / "work").write_text("of years")
    (place / "rnnbench.empty").mkdir()
    (place / "rnnbench.file").write_text("a file")
    before = sorted(place.rglob("*"))
    with scratch("trial"):
        assert set(before) < set(place.rglob("*"))
    assert sorted(place.rglob("*")) == before


def test_a_copy_and_a_moved_folder_are_the_users_though_they_have_the_marker(place: Path) -> None:
    shutil.copytree(left_behind(), place / "rnnbench.copy")
    left_behind().rename(place / "rnnbench.moved")
    (place / "below").mkdir()
    third = left_behind()
    third.rename(place / "below" / third.name)
    shutil.copytree(place / "below" / third.name, third)  # the same path, but another folder
    with scratch("trial"):
        pass
    kept = {path.name for path in place.iterdir()}
    assert kept == {"rnnbench.copy", "rnnbench.moved", "below", third.name}
    assert (place / "rnnbench.copy" / "file").read_text() == "left behind"


@pytest.mark.parametrize("marker", ["link", "pipe", "folder", "other words"])
def test_a_marker_that_rnnbench_did_not_write_is_none(place: Path, marker: str) -> None:
    folder = left_behind()
    file = next(folder.glob(".*"))
    words = file.read_bytes()
    file.unlink()
    match marker:
        case "link":
            (place / "words").write_bytes(words)
            file.symlink_to(place / "words")
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case _:
            file.write_bytes(words + b"\n")
    with scratch("trial"):
        pass
    assert (folder / "file").exists()


def test_a_removal_that_is_cut_off_is_gone_on_with_at_the_next_start(place: Path) -> None:
    folder = left_behind()
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_text("x")
    (folder / "file").unlink()  # as far as it came
    with scratch("trial"):
        assert not folder.exists()


def test_no_room_is_told_in_words(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "nowhere"))
    with pytest.raises(UserError, match=r"no temporary folder can be made: .*; set TMPDIR to a folder that has room"):
        scratch("trial").__enter__()
