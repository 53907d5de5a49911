"""Slurm's commands: to submit jobs, to ask what they are at, and to cancel them."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError

COMMAND_SECONDS = 120.0  # Slurm's own commands give up earlier
AT_ONCE = 200  # jobs on one command line
ALIVE = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "STAGE_OUT",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
)
# Why jobs wait that are to start soon, or when they are told to.
USUAL = ("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Prolog")
FIELDS = ("JobArrayID", "Name", "State", "exit_code", "NodeList", "Reason")
# Words of commands that did not reach the controller, or got no answer in time.
UNREACHED = (
    "Unable to contact slurm controller",
    "timed out",
    "Zero Bytes were transmitted",
    "temporarily unable",
    "in standby mode",
    "Connection refused",
    "Connection reset",
    "Broken pipe",
    "connection failure",
)


class ControllerDown(Exception):
    """Slurm's controller gives no answer; the words of the command that asked."""


class JobRefused(Exception):
    """Slurm does not take a job; its own words."""


@dataclass(frozen=True)
class JobState:
    """What the controller says of a job."""

    job: str  # its number, with its place in an array: 12 or 12_3
    state: str
    exit_code: str  # of its script, and the signal that ended it: 1:0 or 0:15
    node: str
    reason: str

    @property
    def alive(self) -> bool:
        """Whether it may still do something."""
        return self.state in ALIVE

    @property
    def runs(self) -> bool:
        """Whether it is at work, as far as Slurm knows."""
        return self.state == "RUNNING"

    @property
    def waits_for(self) -> str:
        """Slurm's word for what keeps it from starting; empty where that is only its turn."""
        return self.reason if self.state == "PENDING" and self.reason not in USUAL else ""

    @property
    def how_it_ended(self) -> str:
        """In a clause."""
        match self.state:
            case "CANCELLED":
                return "it was cancelled"
            case "TIMEOUT" | "DEADLINE":
                return "it came to its time limit"
            case "NODE_FAIL" | "BOOT_FAIL":
                return f"its node {self.node} failed"
            case "OUT_OF_MEMORY":
                return "it ran out of memory"
            case "PREEMPTED":
                return "another job was preferred to it"
        signal = self.killed_by
        return f"it was killed by signal {signal}" if signal else f"it exited with {self.exit_code.partition(':')[0]}"

    @property
    def killed_by(self) -> int:
        """The number of the signal that ended it; 0 where none did. A shell adds 128 to that of what it has started."""
        code, _, signal = self.exit_code.partition(":")
        return int(signal or 0) or max(0, int(code) - 128)


def require() -> None:
    """Raise UserError where Slurm or submitit is not installed."""
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise UserError(f"Slurm: no {missing[0]} on PATH; run rnnbench where Slurm's commands are")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("Slurm needs submitit: pip install 'rnnbench[slurm]'") from None


@dataclass(frozen=True)
class Ticket:
    """A job as it can be found: the name that it was submitted by, and its place in the array."""

    name: str
    place: int | None  # None: a job that is in no array, and what is left of one that was cancelled before it started


JobStates = Mapping[Ticket, JobState]


def state_of(ticket: Ticket, states: JobStates) -> JobState | None:
    """What a job is at; None where Slurm knows nothing of it any more."""
    return states.get(ticket) or states.get(Ticket(ticket.name, None))


def states(names: Sequence[str]) -> JobStates:
    """What the user's jobs of these names are at; those long ended are not there. Raises ControllerDown."""
    if not names:
        return {}
    shown = ",".join(f"{field}:|" for field in FIELDS)
    try:
        told = _ask("squeue", "--me", "--array", "--states=all", "--noheader", f"--name={','.join(names)}", "-O", shown)
    except JobRefused as words:
        raise ControllerDown(str(words)) from None  # whatever it was, a question can be asked again
    found = {}
    for line in told.splitlines():
        job, name, *rest = (field.strip() for field in line.split("|")[: len(FIELDS)])
        if name not in names:  # of a name with a comma squeue makes two, and one may be somebody's other job
            continue
        for one, place in elements(job):
            found[Ticket(name, place)] = JobState(one, *rest)
    return found


def elements(job: str) -> list[tuple[str, int | None]]:
    """The jobs that Slurm means by `12`, `12_3` or `12_[0-2,5%4]`, each with its place in the array."""
    number, _, places = job.partition("_")
    if not places:
        return [(job, None)]
    bounds = [term.partition("-") for term in places.strip("[]").partition("%")[0].split(",")]
    return [
        (f"{number}_{place}", place) for first, _, last in bounds for place in range(int(first), int(last or first) + 1)
    ]


def cancel(jobs: Sequence[str]) -> None:
    """Have jobs end; raises ControllerDown."""
    for start in range(0, len(jobs), AT_ONCE):
        try:
            _ask("scancel", *jobs[start : start + AT_ONCE])
        except JobRefused:
            continue  # one has ended meanwhile, which is as well


def submit(
    folder: Path, name: str, function: Any, arguments: Sequence[tuple[Any, ...]], asked: Mapping[str, Any]
) -> None:
    """One job for each tuple of arguments, as an array: the order of the arguments is that of the array.

    `folder` keeps their logs. Raises ControllerDown, after which they may have been submitted or not, and Refused.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0)
    executor.update_parameters(job_name=name, **asked)
    try:
        executor.map_array(function, *zip(*arguments, strict=True))
    except (FailedJobError, FailedSubmissionError) as fault:
        raise _fault("sbatch", str(fault)) from None


def log(folder: Path, job: str) -> Path:
    """Where a job's standard error goes."""
    return folder / f"{job}_0_log.err"


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise ControllerDown(f"{command[0]} gave no answer within {COMMAND_SECONDS:g} s") from None
    if done.returncode:
        raise _fault(command[0], done.stderr)
    return done.stdout


def _fault(command: str, words: str) -> ControllerDown | JobRefused:
    """What a command has said, in its last line that says something."""
    lines = [line.strip() for line in words.splitlines() if line.strip() and not line.startswith("Try ")]
    said = lines[-1].removeprefix(f"{command}: ").removeprefix("error: ") if lines else "no word of why"
    kind = ControllerDown if any(unreached in words for unreached in UNREACHED) else JobRefused
    return kind(f"{command}: {said}")
