"""Slurm's commands: what a job requests, submit it, ask for the states of a run's jobs, and cancel them.

submitit submits. The states come from `squeue`, since submitit's come from accounts, which only some clusters keep.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT, START_SECONDS
from rnnbench.suite.file import Settings

# Options that rnnbench sets itself, to recognize its jobs and to run one process in each.
RESERVED_OPTIONS = (
    "array",
    "error",
    "job_name",
    "nodes",
    "no_requeue",
    "ntasks",
    "ntasks_per_node",
    "output",
    "requeue",
    "wrap",
)
# Options of rnnbench beside those of sbatch, and what their values look like.
EXTRA_OPTIONS = {"array_parallelism": "[1-9][0-9]*", "reference_node": r"[\w.-]+"}
CARD_MEMORY = "16G"  # of the host, for a job on a card: many clusters give a job next to nothing by themselves
COMMAND_SECONDS = 120.0  # Slurm's own commands give up earlier
END_STATES = (  # the states of a job that has ended
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
)
FIELDS = ("JobID", "Name", "State", "exit_code", "NodeList")


class SlurmFault(Exception):
    """A command of Slurm gives no answer, or refuses; the message is Slurm's own."""


@dataclass(frozen=True)
class JobState:
    """A job as the controller reports it."""

    job: str
    name: str
    state: str
    exit_code: str  # of its script, and the signal that ended it: 1:0 or 0:15
    node: str

    @property
    def is_alive(self) -> bool:
        """Whether the job may still do something."""
        return self.state not in END_STATES


def require() -> None:
    """Raise UserError if Slurm or submitit is not installed."""
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise UserError(f"Slurm: {missing[0]} is not on PATH; run rnnbench on a machine that has Slurm's commands")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("Slurm needs submitit: pip install submitit") from None


def parse(options: Sequence[str]) -> dict[str, str]:
    """Parse long options of sbatch, such as `partition=gpu`; raises UserError if one is not valid."""
    parsed: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        if key in RESERVED_OPTIONS:
            raise UserError(f"Slurm option {option}: {name} is set by rnnbench itself")
        if not re.fullmatch("[a-z][a-z_]*", key) or not re.fullmatch(EXTRA_OPTIONS.get(key, ".+"), value):
            raise UserError(
                f"Slurm option {option}: expected NAME=VALUE, an option of sbatch such as partition=gpu, "
                "array-parallelism=N or reference-node=NODE"
            )
        parsed[key] = value
    return parsed


def job_parameters(cards: int, cores: int, settings: Settings, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters for submitit, the same for all jobs of a run, so that their machines can be alike.

    Cases on a card get one card, and the cores that they need. Other cases get a whole node, so that no other job
    disturbs what is timed, or as many cores of a node as the user requests. `options`: those of sbatch that the user
    sets.
    """
    node: dict[str, Any] = {"exclusive": True, "mem": "0"}  # all of the node's memory too
    if cards:
        node = {"gpus_per_node": cards, "cpus_per_task": cores + 1, "mem": CARD_MEMORY}  # one for the coordinator
    elif "cpus_per_task" in options:
        node = {}
    # An option of the user for the same resource, under whatever name, replaces rnnbench's own.
    for resource, names in {"gpus_per_node": ("gpus", "gres"), "mem": ("mem",)}.items():
        if any(name.startswith(names) for name in options):
            node.pop(resource, None)
    budget = settings.budget_seconds
    beside = START_SECONDS + settings.deadline_seconds  # of a case that hangs
    limit = None if budget is None else math.ceil((budget + beside) / 60)
    # Modules in the folder that a job starts in must not replace Python's own, unless rnnbench is there.
    safe_path = [] if Path.cwd() == PACKAGE_PARENT else ["export PYTHONSAFEPATH=1"]
    return {
        "nodes": 1,
        "ntasks_per_node": 1,
        "time": limit,
        # Not as a step of srun, which would get only one core of a node that the job has to itself.
        "use_srun": False,
        # The shell ignores SIGTERM and waits for its program, which ends in order on that signal.
        "setup": ["trap : TERM", *safe_path],
        # Restarts by Slurm itself would be neither counted nor limited.
        "additional_parameters": {"no_requeue": True, **node, **options},
    }


def submit(folder: Path, name: str, function: Any, arguments: Sequence[Any], parameters: Mapping[str, Any]) -> str:
    """Submit a job that calls `function`, and return its number; `folder` keeps its logs.

    Raises SlurmFault; if sbatch got no answer in time, the job may have been submitted all the same.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0)
    executor.update_parameters(job_name=name, wckey=None, **parameters)  # submitit would set a key of its own
    try:
        return str(executor.submit(function, *arguments).job_id)
    except (FailedJobError, FailedSubmissionError) as fault:
        raise SlurmFault(_last_words("sbatch", str(fault))) from None


def states(run: str) -> list[JobState]:
    """Return the states of a run's jobs, except jobs that ended some minutes ago (MinJobAge). Raises SlurmFault."""
    columns = ",".join(f"{field}:|" for field in FIELDS)
    listing = _ask("squeue", "--me", "--states=all", "--noheader", "-O", columns)
    jobs = (JobState(*(field.strip() for field in line.split("|")[: len(FIELDS)])) for line in listing.splitlines())
    return [job for job in jobs if job.name.startswith(f"{run}.")]


def cancel(run: str) -> None:
    """Cancel the jobs of a run; raises SlurmFault."""
    if jobs := [state.job for state in states(run) if state.is_alive]:
        _ask("scancel", "--quiet", *jobs)  # of which some may have ended meanwhile


def _ask(*command: str) -> str:
    """Return the output of a command that can be asked again, whatever its fault; raises SlurmFault."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise SlurmFault(f"{command[0]} gave no answer within {COMMAND_SECONDS:g} s") from None
    if done.returncode:
        raise SlurmFault(_last_words(command[0], done.stderr))
    return done.stdout


def _last_words(command: str, words: str) -> str:
    """Return the last line of a command's output that says something."""
    lines = [line.strip() for line in words.splitlines() if line.strip() and not line.startswith("Try ")]
    reason = lines[-1].removeprefix(f"{command}: ").removeprefix("error: ") if lines else "no reason given"
    return f"{command}: {reason}"
