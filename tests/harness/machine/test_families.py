"""What is ended with a process: all that it has started, and the files that look finished and are not."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rnnbench.harness.machine.families import end_family

WRITES = """
import pathlib, sys, time
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text("half")
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("program", "is_removed"),
    [
        ("g++", True),
        ("x86_64-linux-gnu-gcc-12", True),
        ("ld.gold", True),
        ("as", True),
        ("sort", False),
        ("tar", False),
    ],
)
@pytest.mark.parametrize("is_own_group", [False, True])
def test_a_file_that_a_compiler_has_not_finished_is_removed_and_no_other_is(
    program: str, is_removed: bool, is_own_group: bool, tmp_path: Path
) -> None:
    (tmp_path / program).symlink_to(sys.executable)
    (tmp_path / "write.py").write_text(WRITES)
    file, done = tmp_path / "library.so", tmp_path / "done.so"
    done.write_text("done")
    command = [str(tmp_path / program), "write.py", "-o", file.name]
    run = f"import subprocess; subprocess.run({command!r}, cwd={str(tmp_path)!r}, start_new_session={is_own_group})"
    with subprocess.Popen([sys.executable, "-c", run], start_new_session=True) as leader:
        while not file.exists() or not file.read_text():
            time.sleep(0.01)
        [started] = psutil.Process(leader.pid).children(recursive=True)
        end_family(leader.pid)
        leader.wait()
    psutil.wait_procs([started], timeout=60)
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    assert file.exists() != is_removed
    assert done.read_text() == "done"
