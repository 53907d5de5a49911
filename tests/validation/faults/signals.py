"""Ctrl-C at random moments of each command, and a command that is stopped for longer than a case's deadline."""

import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from rnnbench import load, summarize
from tests.doubles import repository
from tests.validation.faults.command import CASES, Command, Outcome, life_seconds, lives, moments, runs, tiny

OUR_START = "rnnbench/__main__.py"  # in tracebacks from after rnnbench's start
RUN = "RUN"  # placeholder for a stored run in a command's arguments
DEADLINE_SECONDS = 3
STOPPED_SECONDS = 7.0  # longer than the deadline and than rnnbench's threshold for a pause
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("run", "tiny.toml"),
    ("check", "tiny.toml", "--base", "HEAD"),
    ("report", RUN),
    ("compare", RUN, "copy"),
    ("doctor",),
)


def interrupts(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Interrupt each command equally often."""
    folder = tiny(parent / "repository")
    repository.commit(folder, {".gitignore": "results\nreports\ntemporary\ncopy\n"})
    life_seconds(folder, "run", "tiny.toml")
    [run] = runs(folder)
    shutil.copytree(run, folder / "copy")
    for index, command in enumerate(COMMANDS):
        arguments = tuple(f"results/{run.name}" if argument == RUN else argument for argument in command)
        seconds = life_seconds(folder, *arguments)
        for delay in moments(len(range(index, times, len(COMMANDS))), seconds, seed + index):
            for other in (path for path in runs(folder) if path != run):
                shutil.rmtree(other)
            yield _interrupted(folder, arguments, delay, run)


def _interrupted(folder: Path, arguments: Sequence[str], delay: float, run: Path) -> Outcome:
    command = Command(folder, *arguments)
    was_there = lives(command, delay)
    stage = _stage(command, folder, run) if was_there else "after its end"
    if was_there:
        command.process.send_signal(signal.SIGINT)
    code, errors = command.end()
    if code == -signal.SIGINT and "Traceback" not in errors:
        code = 130  # Python ends like this if it was in an exec(), as in imports; a shell shows 130 for both
    outcome = Outcome(f"Ctrl-C in {arguments[0]}", stage)
    if "Traceback" in errors and OUR_START not in errors:
        outcome.stage = "Python's own start"  # before any line of rnnbench
    elif "Traceback" in errors or errors.count("interrupted") != (code == 130) or code not in (130, 0, 3):
        outcome.wrong.append(f"exit code {code}: {errors[-2000:]}")
    outcome.wrong += command.leftovers()
    outcome.wrong += [f"left: {tree}" for tree in repository.git(folder, "worktree", "list").splitlines()[1:]]
    for other in (path for path in runs(folder) if path != run and (path / "run.json").exists()):
        outcome.windows += len(load(other).windows)
    return outcome


def _stage(command: Command, folder: Path, run: Path) -> str:
    """The stage of a command, from the files that it has written and the workers that it has started."""
    files = (*folder.glob("results/**/*.jsonl"), *folder.glob("temporary/**/*.jsonl"))
    names = [path.name for path in files if run not in path.parents]
    if any(name.startswith("windows-") for name in names):
        return "timing or ending"
    if names:
        return "checking and observing"
    try:
        return "starting workers" if command.workers() else "loading or at work"
    except psutil.Error:
        return "after its end"


def stops(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Stop the coordinator alone, as Ctrl-Z does, or also its workers, as a sleeping machine does."""
    rng = random.Random(seed)
    folder = tiny(parent / "undisturbed")
    seconds = life_seconds(folder, "run", "tiny.toml")
    for number, delay in enumerate(moments(times, seconds, seed)):
        folder = tiny(parent / f"stopped-{number}")
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
        outcome.wrong += command.leftovers()
        yield outcome


def _stop(command: Command, *, everything: bool) -> None:
    processes = [psutil.Process(command.process.pid), *(command.workers() if everything else [])]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    for process in reversed(processes):
        process.send_signal(signal.SIGCONT)
