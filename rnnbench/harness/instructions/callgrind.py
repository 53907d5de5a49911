"""Workers that run under callgrind, a tool of valgrind, and what it writes about them."""

import shutil
import subprocess
from pathlib import Path

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.instructions.dump import Dump, read_dump
from rnnbench.store.readings import Unavailable
from rnnbench.text import last_line

PROGRAMS = ("valgrind", "vgdb")
START_SECONDS = 600.0  # importing torch under valgrind takes 10 to 20 times as long as without
SWITCH_SECONDS = 60.0
REMEDY = "install valgrind (Debian, Ubuntu: apt install valgrind; Fedora: dnf install valgrind)"


def why_not() -> str:
    """Why instructions can't be counted by callgrind here; empty if they can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{' and '.join(missing)} can't be found; {REMEDY}" if missing else ""


def command(folder: Path, name: str) -> list[str]:
    """The start of a worker's command, whose dumps then lie in `folder`. Nothing is counted until `switch_on`."""
    return [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--instr-atstart=no",  # torch's import would take minutes
        "--collect-atstart=no",
        "--dump-line=no",
        f"--callgrind-out-file={folder / name}",
        f"--vgdb-prefix={folder / 'vgdb'}",
    ]


def switch_on(worker: WorkerProcess, folder: Path) -> None:
    """Let callgrind see every instruction of a worker from now on; raises Unavailable."""
    request = ["vgdb", f"--vgdb-prefix={folder / 'vgdb'}", f"--pid={worker.pid}", "instrumentation", "on"]
    try:
        done = subprocess.run(request, capture_output=True, timeout=SWITCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unavailable(f"callgrind can't be switched on: {fault}") from None
    if done.returncode:
        why = last_line(done.stderr.decode(errors="replace")) or f"vgdb exited with {done.returncode}"
        raise Unavailable(f"callgrind can't be switched on: {why}")


def take_dumps(folder: Path, name: str) -> list[Dump]:
    """Read and remove the dumps of a worker; raises WorkerLost.

    Every second is that of a call that was counted, in the order of the calls.
    """
    files = sorted(folder.glob(f"{name}.*"), key=lambda file: int(file.suffix[1:]))
    try:
        dumps = [read_dump(file.read_text(errors="replace").splitlines()) for file in files[1::2]]
    except (ValueError, OSError) as fault:
        raise WorkerLost(f"what callgrind wrote can't be read: {fault}") from None
    for file in files:
        file.unlink()
    return dumps
