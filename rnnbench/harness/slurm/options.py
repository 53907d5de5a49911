"""What a job asks of Slurm: a machine or a card to itself, time for its budget, and what the user says."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import PACKAGE_PARENT, START_SECONDS
from rnnbench.harness.slurm.parts import JobPart
from rnnbench.suite_file import Settings

MAX_IN_ARRAY = 500  # jobs; Slurm's own limit is 1,001 by default
# Options by which rnnbench knows its jobs again, and runs one process in each.
OWN = ("array", "error", "job_name", "nodes", "no_requeue", "ntasks", "ntasks_per_node", "output", "requeue", "wrap")


def parse(options: Sequence[str]) -> dict[str, str]:
    """`name=value` of sbatch's long options, as in `partition=gpu`; raises UserError where one is none."""
    found = {}
    for option in options:
        name, equals, value = option.partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        if not equals or not value or not re.fullmatch(r"[a-z][a-z_]*", key) or "\n" in value:
            raise UserError(f"Slurm option {option}: expected NAME=VALUE, an option of sbatch such as partition=gpu")
        if key in OWN:
            raise UserError(f"Slurm option {option}: rnnbench sets {name} itself")
        if key in found:
            raise UserError(f"Slurm option {option}: {name} is given twice")
        if key == "array_parallelism" and not (value.isdecimal() and int(value)):
            raise UserError(f"Slurm option {option}: expected a whole number")
        found[key] = value
    return found


def asked(parts: Sequence[JobPart], settings: Settings, given: Mapping[str, str]) -> dict[str, Any]:
    """What submitit is told for all jobs of a run, in equal words, so that their machines can be alike.

    Where cases want a card: one, and the cores that its cases want. Else a whole node, so that nobody else is at work
    beside what is timed, or as many cores of one as the user says.
    """
    cores = max(part.cores for part in parts) + 1  # one is left for the process that asks the workers
    if parts[0].cards:
        node: dict[str, Any] = {"gpus_per_node": parts[0].cards, "cpus_per_task": cores}
    elif "cpus_per_task" in given:
        node = {}
    else:
        node = {"exclusive": True, "mem": "0"}  # all of the node's memory too
    # What the user says in other words takes the place of the same.
    for prefix in ("gpus", "mem"):
        if any(name.startswith((prefix, "gres") if prefix == "gpus" else prefix) for name in given):
            node = {name: value for name, value in node.items() if not name.startswith(prefix)}
    extra = {name: value for name, value in given.items() if name != "array_parallelism"}
    return {
        "nodes": 1,
        "ntasks_per_node": 1,
        "time": minutes(settings),
        "array_parallelism": int(given.get("array_parallelism", MAX_IN_ARRAY)),
        # Not a step of srun, which would get one core of a node that the job has to itself.
        "use_srun": False,
        # The shell waits for what it has started, which ends in order when it is told to.
        "setup": ["trap : TERM", *_safe_path()],
        # A job that Slurm starts again on its own would be neither counted nor bounded.
        "additional_parameters": {"no_requeue": True, **node, **extra},
    }


def _safe_path() -> list[str]:
    """Keep modules of the folder that a job starts in from replacing Python's own; not where rnnbench lies there."""
    return [] if Path.cwd() == PACKAGE_PARENT else ["export PYTHONSAFEPATH=1"]


def minutes(settings: Settings) -> int | None:
    """The time limit of a job: its budget, the start of its workers and a case that hangs; none without a budget."""
    if settings.budget_seconds is None:
        return None
    return math.ceil((settings.budget_seconds + START_SECONDS + settings.deadline_seconds) / 60)
