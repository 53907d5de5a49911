"""Ctrl-C at random moments of each command: exit code 130, one line, and nothing left behind."""

import itertools
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench import load
from tests import repository
from tests.validation.faults import witness
from tests.validation.faults.command import Command, life_seconds, lives, moments, runs, tiny
from tests.validation.faults.outcome import Outcome

RUN = "RUN"  # stands for a stored run among a command's arguments


@dataclass(frozen=True)
class Plan:
    """A command, and how long it lives undisturbed."""

    arguments: tuple[str, ...]
    seconds: float


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("run", "tiny.toml"),
    ("check", "tiny.toml", "--base", "HEAD"),
    ("report", RUN),
    ("compare", RUN, RUN),
    ("doctor",),
)


def interrupts(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """As many for each command."""
    with tiny(parent / "repository") as folder:
        repository.commit(folder, {".gitignore": "results\nreports\ntemporary\nwitness*\n"})
        life_seconds(folder, "run", "tiny.toml")
        [run] = runs(folder)
        for place, command in enumerate(COMMANDS):
            arguments = tuple(f"results/{run.name}" if one == RUN else one for one in command)
            plan = Plan(arguments, life_seconds(folder, *arguments))
            share = len(range(place, times, len(COMMANDS)))
            for delay in moments(share, plan.seconds, seed + place):
                outcome = _interrupted(folder, plan.arguments, delay, run)
                yield outcome


def _interrupted(folder: Path, arguments: Sequence[str], delay: float, run: Path) -> Outcome:
    (folder / "witness").unlink(missing_ok=True)
    command = Command(folder, *arguments, witness=folder / "witness")
    was_there = lives(command, delay)
    if was_there:
        command.process.send_signal(signal.SIGINT)
    stage = witness.read(folder / "witness")[0] if was_there else "after its end"
    code, errors = command.end()
    outcome = Outcome(f"Ctrl-C in {arguments[0]}", stage)
    if was_there and stage == "loading" and code != 130 and "rnnbench" not in errors.replace("witness.py", ""):
        outcome.stage = "Python's own start"
    elif was_there and code != 130 and not (code in (0, 3) and "interrupted" not in errors):
        outcome.wrong.append(f"exit code {code}: {errors[-2000:]}")
    elif "Traceback" in errors or errors.count("interrupted") > 1:
        outcome.wrong.append(errors[-2000:])
    outcome.wrong += [f"still there: {orphan}" for orphan in command.orphans()]
    outcome.wrong += [f"left in the temporary folder: {name}" for name in command.leftovers()]
    trees = repository.git(folder, "worktree", "list").splitlines()[1:]
    outcome.wrong += [f"left behind: {tree}" for tree in trees]
    for path in itertools.chain(runs(folder), (folder / "results").glob("*-check-*/*")):
        if path.is_dir() and "-check-" not in path.name and path != run:
            load(path)
    return outcome
