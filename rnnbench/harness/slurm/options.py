"""What a job requests from Slurm: a machine or a card to itself, time for its budget, and the user's options."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.harness.coordinator.process import START_SECONDS
from rnnbench.harness.slurm.parts import JobPart
from rnnbench.suite_file import Settings

MAX_IN_ARRAY = 500  # jobs; Slurm's own limit is 1,001 by default
# Options that rnnbench sets itself, to recognize its jobs and to run one process in each.
OWN = ("array", "error", "job_name", "nodes", "no_requeue", "ntasks", "ntasks_per_node", "output", "requeue", "wrap")


def parse(options: Sequence[str]) -> dict[str, str]:
    """Parse long options of sbatch, such as `partition=gpu`; raises UserError if one is not valid."""
    parsed = {}
    for option in options:
        name, equals, value = option.partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        if not equals or not value or not re.fullmatch(r"[a-z][a-z_]*", key) or "\n" in value:
            raise UserError(f"Slurm option {option}: expected NAME=VALUE, an option of sbatch such as partition=gpu")
        if key in OWN:
            raise UserError(f"Slurm option {option}: rnnbench sets {name} itself")
        if key in parsed:
            raise UserError(f"Slurm option {option}: {name} is given twice")
        if key == "array_parallelism" and not (value.isdecimal() and int(value)):
            raise UserError(f"Slurm option {option}: expected a whole number")
        parsed[key] = value
    return parsed


def asked(parts: Sequence[JobPart], settings: Settings, given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters for submitit, the same for all jobs of a run, so that their machines can be alike.

    Cases on a card get one card, and the cores that they need. Other cases get a whole node, so that no other job
    disturbs what is timed, or as many cores of a node as the user requests.
    """
    cores = max(part.cores for part in parts) + 1  # one is left for the coordinator
    if parts[0].cards:
        node: dict[str, Any] = {"gpus_per_node": parts[0].cards, "cpus_per_task": cores}
    elif "cpus_per_task" in given:
        node = {}
    else:
        node = {"exclusive": True, "mem": "0"}  # all of the node's memory too
    # An option of the user for the same resource, under whatever name, replaces rnnbench's own.
    for prefix in ("gpus", "mem"):
        if any(name.startswith((prefix, "gres") if prefix == "gpus" else prefix) for name in given):
            node = {name: value for name, value in node.items() if not name.startswith(prefix)}
    extra = {name: value for name, value in given.items() if name != "array_parallelism"}
    return {
        "nodes": 1,
        "ntasks_per_node": 1,
        "time": minutes(settings),
        "array_parallelism": int(given.get("array_parallelism", MAX_IN_ARRAY)),
        # Not as a step of srun, which would get only one core of a node that the job has to itself.
        "use_srun": False,
        # The shell ignores SIGTERM and waits for its program, which ends in order on that signal.
        "setup": ["trap : TERM", *_safe_path()],
        # Restarts by Slurm itself would be neither counted nor limited.
        "additional_parameters": {"no_requeue": True, **node, **extra},
    }


def _safe_path() -> list[str]:
    """Keep modules in the folder that a job starts in from replacing Python's own, unless rnnbench is there."""
    return [] if Path.cwd() == PACKAGE_PARENT else ["export PYTHONSAFEPATH=1"]


def minutes(settings: Settings) -> int | None:
    """The time limit of a job: its budget, the start of its workers and a case that hangs; None without a budget."""
    if settings.budget_seconds is None:
        return None
    return math.ceil((settings.budget_seconds + START_SECONDS + settings.deadline_seconds) / 60)
