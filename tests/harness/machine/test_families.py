"""What is ended with a process: all that it has started, and the files that look finished and are not."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rnnbench.harness.machine.families import end_family, outputs_of

WRITES = """
import pathlib, sys, time
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text("half")
time.sleep(600)
"""


class Compiling:
    """A process as psutil describes it, which writes a file."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.program = program

    def cmdline(self) -> list[str]:
        return [f"/usr/bin/{self.program}", "write.c", "-o", "library.so"]

    def cwd(self) -> str:
        return str(self.folder)


@pytest.mark.parametrize(
    ("program", "writes"),
    [
        ("g++", True),
        ("x86_64-linux-gnu-gcc-12", True),
        ("ld.gold", True),
        ("as", True),
        ("sort", False),
        ("tar", False),
    ],
)
def test_compilers_and_linkers_write_a_file_under_its_last_name(program: str, writes: bool, tmp_path: Path) -> None:
    process: Any = Compiling(tmp_path, program)
    assert outputs_of([process]) == ({tmp_path / "library.so"} if writes else set())


@pytest.mark.parametrize("is_own_group", [False, True])
def test_a_file_that_a_compiler_has_not_finished_is_removed_and_no_other_is(is_own_group: bool, tmp_path: Path) -> None:
    (tmp_path / "g++").symlink_to(sys.executable)
    (tmp_path / "write.py").write_text(WRITES)
    file, done = tmp_path / "library.so", tmp_path / "done.so"
    done.write_text("done")
    command = [str(tmp_path / "g++"), "-S", "write.py", "-o", file.name]
    run = f"import subprocess; subprocess.run({command!r}, cwd={str(tmp_path)!r}, start_new_session={is_own_group})"
    with subprocess.Popen([sys.executable, "-S", "-c", run], start_new_session=True) as leader:
        while not file.exists() or not file.read_text():
            time.sleep(0.01)
        [started] = psutil.Process(leader.pid).children(recursive=True)
        end_family(leader.pid)
        leader.wait()
    psutil.wait_procs([started], timeout=60)
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    assert not file.exists()
    assert done.read_text() == "done"
