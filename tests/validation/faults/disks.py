"""Full or read-only disks: the error is one line, measurements stay, and the run can be resumed."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rnnbench import load
from rnnbench.errors import UserError
from rnnbench.store.folder import read_info
from tests.validation.faults.command import CASES, Command, life_seconds, runs, tiny
from tests.validation.faults.outcome import Outcome

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
        with tiny(parent / f"disk-{number}") as folder:
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
    outcome.wrong += [f"still there: {orphan}" for orphan in command.orphans()]
    outcome.wrong += [f"left in the temporary folder: {name}" for name in command.leftovers()]
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
        if (resumed.cases["status"] == "measured").sum() != CASES or read_info(run).status != "finished":
            outcome.wrong.append("not whole after it was resumed")


def no_temporary(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """The folder for temporary files allows no file: another one is used, or the command refuses with a message."""
    commands = (["run", "tiny.toml"], ["doctor"], ["check", "tiny.toml", "--base", "base"])
    for number, arguments in enumerate(commands[:times]):
        with tiny(parent / f"temporary-{number}") as folder, tiny(folder / "base"):
            outcome = Outcome("no room for temporary files", arguments[0])
            try:
                with mounted(folder / "temporary", "size=4k,nr_inodes=1"):
                    command = Command(folder, *arguments)
                    code, errors = command.end()
                    if code not in (0, 3) and (code != 2 or "set TMPDIR" not in errors or "Traceback" in errors):
                        outcome.wrong.append(f"exit code {code}: {errors[-1000:]}")
            except NotAllowed as why:
                outcome.skipped = str(why)
            yield outcome


def read_only(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """A new run, an old run and a report on a read-only disk."""
    with tiny(parent / "read-only") as folder:
        try:
            with mounted(folder / "results", "size=10m"):
                life_seconds(folder, "run", "tiny.toml")
                [run] = runs(folder)
                remount(folder / "results", "ro")
                (folder / "tiny.toml").write_text((folder / "tiny.toml").read_text().replace("= 3", "= 4"))
                for arguments in (
                    ["run", "tiny.toml"],
                    ["run", "tiny.toml", "--resume", f"results/{run.name}"],
                    ["report", f"results/{run.name}", "--out", "results/report"],
                )[:times]:
                    outcome = Outcome("read-only folder", " ".join(arguments[: 3 if len(arguments) > 2 else 1][::2]))
                    _refused(Command(folder, *arguments), ("Read-only file system",), outcome)
                    with contextlib.suppress(UserError):
                        outcome.windows = len(load(run).windows)
                    yield outcome
        except NotAllowed as why:
            yield Outcome("read-only folder", "any", skipped=str(why))


def _refused(command: Command, words: tuple[str, ...], outcome: Outcome) -> None:
    code, errors = command.end()
    last = errors.strip().splitlines()[-1] if errors.strip() else ""
    if code != 2 or "Traceback" in errors or not all(word in last for word in words):
        outcome.wrong.append(f"exit code {code}: {errors[-1000:]}")
    outcome.wrong += [f"still there: {orphan}" for orphan in command.orphans()]
