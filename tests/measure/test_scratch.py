"""Temporary folders: gone at the end, and those of the dead at the next start."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.measure.scratch import scratch

OWNER = """
import os, signal, sys
from rnnbench.measure.scratch import scratch
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


def test_no_room_is_told_in_words(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "nowhere"))
    with pytest.raises(UserError, match=r"no temporary folder can be made: .*; set TMPDIR to a folder that has room"):
        scratch("trial").__enter__()
