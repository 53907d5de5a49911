"""Slurm's commands: submit jobs, ask for their states, and cancel them."""

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
# Why jobs wait that will start soon, or at the time that they were given.
USUAL = ("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Prolog")
FIELDS = ("JobArrayID", "Name", "State", "exit_code", "NodeList", "Reason")
# In messages that refuse jobs because there are too many: in an array, of a user, in all.
OF_A_LIMIT = ("array", "limit", "policy", "too many", "exceed", "maximum")
# Messages of commands that did not reach the controller, or got no answer in time.
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
    """Slurm's controller gives no answer; the message is that of the command."""


class JobRefused(Exception):
    """Slurm does not take a job; the message is Slurm's own."""


@dataclass(frozen=True)
class JobState:
    """A job as the controller reports it."""

    job: str  # its number, with its index in an array: 12 or 12_3
    state: str
    exit_code: str  # of its script, and the signal that ended it: 1:0 or 0:15
    node: str
    reason: str

    @property
    def alive(self) -> bool:
        """Whether the job may still do something."""
        return self.state in ALIVE

    @property
    def runs(self) -> bool:
        """Whether the job is running, as far as Slurm knows."""
        return self.state == "RUNNING"

    @property
    def waits_for(self) -> str:
        """Slurm's word for what keeps the job from starting; empty if it only waits for its turn."""
        return self.reason if self.state == "PENDING" and self.reason not in USUAL else ""

    @property
    def how_it_ended(self) -> str:
        """How the job ended, in a clause."""
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
        """The signal that ended the job, or 0; a shell adds 128 to the signal of a program that it started."""
        code, _, signal = self.exit_code.partition(":")
        return int(signal or 0) or max(0, int(code) - 128)


def require() -> None:
    """Raise UserError if Slurm or submitit is not installed."""
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise UserError(f"Slurm: no {missing[0]} on PATH; run rnnbench where Slurm's commands are")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("Slurm needs submitit: pip install 'rnnbench[slurm]'") from None


@dataclass(frozen=True)
class Ticket:
    """What a job is found by: the name under which it was submitted, and its index in the array."""

    name: str
    index: int | None  # None: a job in no array, or what is left of an array that was cancelled before it started


JobStates = Mapping[Ticket, JobState]


def state_of(ticket: Ticket, states: JobStates) -> JobState | None:
    """The state of a job; None if Slurm no longer knows the job."""
    return states.get(ticket) or states.get(Ticket(ticket.name, None))


def states(names: Sequence[str]) -> JobStates:
    """The states of the user's jobs with these names, except jobs that ended long ago. Raises ControllerDown."""
    if not names:
        return {}
    shown = ",".join(f"{field}:|" for field in FIELDS)
    try:
        named = f"--name={','.join(names)}"
        listing = _ask("squeue", "--me", "--array", "--states=all", "--noheader", named, "-O", shown)
    except JobRefused as words:
        raise ControllerDown(str(words)) from None  # whatever the reason, a question can be asked again
    jobs = {}
    for line in listing.splitlines():
        job, name, *rest = (field.strip() for field in line.split("|")[: len(FIELDS)])
        if name not in names:  # squeue splits a name at a comma, and a half may be the name of another job
            continue
        for element, index in elements(job):
            jobs[Ticket(name, index)] = JobState(element, *rest)
    return jobs


def elements(job: str) -> list[tuple[str, int | None]]:
    """The jobs that Slurm means by `12`, `12_3` or `12_[0-2,5%4]`, each with its index in the array."""
    number, _, indices = job.partition("_")
    if not indices:
        return [(job, None)]
    bounds = [term.partition("-") for term in indices.strip("[]").partition("%")[0].split(",")]
    return [
        (f"{number}_{index}", index) for first, _, last in bounds for index in range(int(first), int(last or first) + 1)
    ]


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; raises ControllerDown."""
    for start in range(0, len(jobs), AT_ONCE):
        try:
            _ask("scancel", *jobs[start : start + AT_ONCE])
        except JobRefused:
            continue  # one has ended meanwhile, which is just as good


def submit(
    folder: Path, name: str, function: Any, arguments: Sequence[tuple[Any, ...]], asked: Mapping[str, Any]
) -> None:
    """Submit one job for each tuple of arguments, as an array in the order of the arguments.

    `folder` keeps their logs. Raises JobRefused, and ControllerDown, after which they may have been submitted or not.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0)
    executor.update_parameters(job_name=name, **asked)
    try:
        executor.map_array(function, *zip(*arguments, strict=True))
    except (FailedJobError, FailedSubmissionError) as fault:
        raise _fault("sbatch", str(fault)) from None


def max_in_array() -> int | None:
    """The jobs that Slurm takes in one array, as its configuration says; None if it does not tell."""
    try:
        lines = _ask("scontrol", "show", "config").splitlines()
    except (ControllerDown, JobRefused, OSError):  # the limit is found by trial, too
        return None
    facts = (line.partition("=") for line in lines)
    known = {name.strip(): value.strip() for name, _, value in facts}
    limits = [int(known[name]) for name in ("MaxArraySize", "MaxJobCount") if known.get(name, "").isdecimal()]
    return max(1, min(limits)) if limits else None


def is_of_a_limit(words: str) -> bool:
    """Whether Slurm refused jobs because there are too many of them."""
    return any(word in words.lower() for word in OF_A_LIMIT)


def log(folder: Path, job: str) -> Path:
    """The file that a job's standard error goes to."""
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
    """The error of a command, with the last line of its output that says something."""
    lines = [line.strip() for line in words.splitlines() if line.strip() and not line.startswith("Try ")]
    reason = lines[-1].removeprefix(f"{command}: ").removeprefix("error: ") if lines else "no word of why"
    kind = ControllerDown if any(unreached in words for unreached in UNREACHED) else JobRefused
    return kind(f"{command}: {reason}")
