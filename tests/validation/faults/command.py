"""The command line as a separate process with a witness, and the things that it leaves behind."""

import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[3]
MARK = "RNNBENCH_FAULTS"  # set in the environment of a command and its child processes
PATIENCE_SECONDS = 240.0  # for a process that was told to end
SUITE = """
name = "tiny"
[measure]
replicates = 3
max_replicates = 3
windows = 2
window_seconds = 0.001
[check]
margin = 0.9
budget_seconds = 60
[defaults]
batch_size = [1, 2, 3]
seq_len = 2
hidden_size = 4
[[sweep]]
cell = "mine.py:Plain"
reference = "rnn"
[[sweep]]
cell = "mine.py:Gated"
reference = "gru"
"""
CELLS = """
from torch import nn
class Plain(nn.RNNCell):
    pass
class Gated(nn.GRUCell):
    pass
"""
CASES = 12


@dataclass
class Outcome:
    """One fault: its stage, the windows before it, and what went wrong."""

    fault: str
    stage: str
    windows: int = 0  # complete before the fault
    lost: int = 0  # of these windows
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)


class Command:
    """`rnnbench ARGUMENTS` in a folder, with a separate folder for temporary files."""

    def __init__(self, folder: Path, *arguments: str, witness: Path | None = None, **variables: str) -> None:
        self.mark = uuid.uuid4().hex
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        program = ["-m", "rnnbench"] if witness is None else [str(Path(__file__).with_name("witness.py"))]
        ours = {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.temporary), MARK: self.mark, "GITHUB_ACTIONS": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-P", *program, *arguments],
            cwd=folder,
            env=os.environ | ours | {"WITNESS": str(witness or "")} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Wait until it ends by itself; return its exit code and standard error."""
        _, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, errors

    def workers(self) -> list[psutil.Process]:
        """Its current child processes."""
        return psutil.Process(self.process.pid).children()

    def orphans(self) -> list[str]:
        """Its processes that do not end within ten seconds."""
        end = time.monotonic() + 10
        while (commands := list(self._marked())) and time.monotonic() < end:
            time.sleep(0.02)
        return [f"still there: {command}" for command in commands]

    def _marked(self) -> Iterator[str]:
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield " ".join(process.cmdline())
            except psutil.Error:
                continue  # it has ended, or belongs to another user


def tiny(folder: Path) -> Path:
    """Make a folder with the suite `tiny`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.toml").write_text(SUITE)
    (folder / "mine.py").write_text(CELLS)
    return folder


def life_seconds(folder: Path, *arguments: str) -> float:
    """Seconds that an undisturbed command takes."""
    started = time.monotonic()
    code, errors = Command(folder, *arguments).end()
    assert code in (0, 3), f"exit code {code}: {errors}"
    return time.monotonic() - started


def lives(command: Command, seconds: float) -> bool:
    """Wait, and return whether the command is still alive."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and command.process.poll() is None:
        time.sleep(0.001)
    return command.process.poll() is None


def moments(times: int, seconds: float, seed: int) -> list[float]:
    """Times spread evenly over a life, one drawn at random from each equal part, in random order."""
    rng = random.Random(seed)
    times_of_kills = [(number + rng.random()) / times * seconds for number in range(times)]
    rng.shuffle(times_of_kills)
    return times_of_kills


def runs(folder: Path) -> Sequence[Path]:
    """The run folders below a command's folder."""
    return sorted((folder / "results").glob("*"))
