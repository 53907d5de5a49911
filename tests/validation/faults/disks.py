"""Full disks: the error is one line, measurements stay, and the run can be resumed."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rnnbench import load
from rnnbench.store.folder import read_info
from tests.validation.faults.command import CASES, Command, Outcome, runs, tiny

PAGE = 4096


class NotAllowed(Exception):
    """Mounting needs root."""


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory at a folder until the end; raises NotAllowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowed(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the options of a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def full(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Run on disks of increasing size, from one page on; then add space and resume the run."""
    for number in range(times):
        folder = tiny(parent / f"disk-{number}")
        outcome = Outcome("full disk", "at the start")
        try:
            with mounted(folder / "results", f"size={(number % 24 + 1) * PAGE}"):
                _fill(folder, outcome)
        except NotAllowed as why:
            outcome.skipped = str(why)
        yield outcome


def _fill(folder: Path, outcome: Outcome) -> None:
    command = Command(folder, "run", "tiny.toml")
    code, errors = command.end()
    last = errors.strip().splitlines()[-1]
    if code == 0:
        outcome.stage = "not full"
    elif code != 2 or "Traceback" in errors or "No space left on device" not in last:
        outcome.wrong.append(f"exit code {code}: {errors[-1000:]}")
    outcome.wrong += command.leftovers()
    remount(folder / "results", "size=10m")
    for run in runs(folder):
        timed = load(run).windows
        outcome.windows = len(timed)
        if outcome.stage == "at the start":
            outcome.stage = "timing" if len(timed) else "before timing"
        code, errors = Command(folder, "run", "tiny.toml", "--resume", f"results/{run.name}").end()
        if code:
            outcome.wrong.append(f"not resumed: {errors[-1000:]}")
            continue
        resumed = load(run)
        after = resumed.windows
        keys = ["worker", "order", "case"]
        kept = timed[keys].merge(after[keys], on=keys)
        outcome.lost = len(timed) - len(kept.drop_duplicates())
        outcome.doubled = int(after.duplicated(keys).sum())
        if (resumed.frame["status"] == "measured").sum() != CASES or read_info(run).status != "finished":
            outcome.wrong.append("not whole after it was resumed")
