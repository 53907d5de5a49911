"""The command is stopped (Ctrl-Z, a closed laptop) for longer than a case's deadline and then continued."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from rnnbench import load, summarize
from tests.validation.faults.command import CASES, Command, Outcome, life_seconds, lives, moments, runs, tiny

DEADLINE_SECONDS = 3
STOPPED_SECONDS = 7.0  # longer than the deadline and than rnnbench's threshold for a pause


def stops(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Stop the coordinator alone, as Ctrl-Z does, or also its workers, as a sleeping machine does."""
    rng = random.Random(seed)
    with tiny(parent / "undisturbed") as folder:
        seconds = life_seconds(folder, "run", "tiny.toml")
    for number, delay in enumerate(moments(times, seconds, seed)):
        with tiny(parent / f"stopped-{number}") as folder:
            suite = (folder / "tiny.toml").read_text()
            (folder / "tiny.toml").write_text(
                suite.replace("[measure]", f"[measure]\ndeadline_seconds = {DEADLINE_SECONDS}")
            )
            command = Command(folder, "run", "tiny.toml")
            everything = rng.random() < 0.5
            stage = "after its end"
            if lives(command, delay):
                stage = "everything stopped" if everything else "the coordinator stopped"
                _stop(command, everything=everything)
            code, errors = command.end()
            outcome = Outcome("command that is stopped and goes on", stage)
            if code != 0 or "Traceback" in errors:
                outcome.wrong.append(f"exit code {code}: {errors[-1000:]}")
            else:
                [run] = runs(folder)
                summary = summarize(load(run))
                outcome.windows = len(load(run).windows)
                lost = summary[summary["status"] != "measured"]
                outcome.lost = len(lost)
                outcome.wrong += [f"{row.case}: {row.status}: {row.reason}" for row in lost.itertuples()]
                if len(summary) != CASES or (summary["replicates"] < 3).any():
                    outcome.wrong.append("not whole")
            outcome.wrong += [f"still there: {orphan}" for orphan in command.orphans()]
            yield outcome


def _stop(command: Command, *, everything: bool) -> None:
    processes = [psutil.Process(command.process.pid), *(command.workers() if everything else [])]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    for process in reversed(processes):
        process.send_signal(signal.SIGCONT)
