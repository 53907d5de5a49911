"""Temporary folders: removed at the end, and after a kill by the next process."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.temporary import scratch

HOLD = """
from rnnbench.temporary import scratch
with scratch("compiled") as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_temporary_folder_is_there_and_gone_at_the_end(tmp_path: Path) -> None:
    with scratch("trial") as folder:
        assert not list(folder.iterdir())
        (folder / "file").write_text("x")
        assert tmp_path in folder.parents
    assert not list(tmp_path.iterdir())


def test_no_room_is_said_with_the_folder_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    expected = r"no temporary file can be made in .*nowhere.*; set TMPDIR to a folder with room"
    with pytest.raises(UserError, match=expected), scratch("trial"):
        pass


def test_what_a_killed_process_leaves_is_removed_by_the_next_one_and_nothing_else(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", HOLD]
    with (
        subprocess.Popen(command, env=environment, text=True, **pipes) as killed,  # type: ignore[call-overload]
        subprocess.Popen(command, env=environment, text=True, **pipes) as living,  # type: ignore[call-overload]
    ):
        left, held = (Path(process.stdout.readline().strip()) for process in (killed, living))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        (tmp_path / "rnnbench.of.another.tool").mkdir()
        other = tmp_path / "other"
        other.mkdir()
        (other / "lock").touch()
        (tmp_path / "rnnbench.link").symlink_to(other)
        assert left.is_dir()
        with scratch("trial"):
            assert not left.parent.exists()
            assert held.is_dir()
        living.communicate("\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "rnnbench.link", "rnnbench.of.another.tool"]
    assert (other / "lock").exists()
