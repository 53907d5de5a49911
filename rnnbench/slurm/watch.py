"""Wait for the jobs of a run, submit parts that have no job or have lost it, and tell how far they are."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from rnnbench.errors import UserError
from rnnbench.slurm import queue
from rnnbench.slurm.job import UNLIKE, is_finished, measure_part
from rnnbench.slurm.queue import ControllerDown, JobRefused, JobState
from rnnbench.store.folder import RunFolder, last_measurements, parts, read_info
from rnnbench.store.records import Status
from rnnbench.suite.file import Settings
from rnnbench.text import last_line, plural

MAX_LOST = 3  # jobs of a part: it is sent again twice
MIN_WAIT, MAX_WAIT = 0.5, 10.0  # seconds between looks: longer as the run goes on
CANCEL_SECONDS = 20.0  # to wait for the end of cancelled jobs
NO_JOB_YET, LOST = "no job came to it", "its job was lost"  # why cases were not measured
LOGS = "slurm"  # folder of a run, with what submitit writes
MAX_SHARE = 0.9  # of a running job: it is not done before it says so


class NotTaken(UserError):
    """Slurm takes none of the jobs."""


@dataclass
class JobPart:
    """Whole groups of a run, which one job at a time measures."""

    name: str
    cases: int
    job: str | None = None  # its job's number; None: it needs a job
    state: Literal["open", "finished", "given up"] = "open"
    lost: list[str] = field(default_factory=list)  # why its jobs ended before the part was finished
    running_since: float | None = None


@dataclass(frozen=True)
class JobsProgress:
    """How far the jobs of a run are, for display."""

    jobs: int
    done: int
    running: int
    waiting: int
    lost: int  # jobs that were sent again or given up
    cases: int
    cases_done: float  # with fractions for running jobs
    seconds_left: float | None  # None before anything is known
    trouble: str  # what keeps jobs waiting; empty if nothing does


class Watch:
    """Watches every part of a run with its job, until all parts are finished or given up."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        parameters: Mapping[str, Any],
        root: Path,
        most: int,
        on_progress: Callable[[JobsProgress], None],
    ) -> None:
        """`parameters`: what `queue.requested` returns; `most`: jobs in the queue at once."""
        self._path = path.resolve()
        self._settings = settings
        self._parameters = dict(parameters)
        self._root = root.resolve()
        self._most = most
        self._on_progress = on_progress
        self._began = time.monotonic()
        self.parts = [JobPart(name, len(last_measurements(path, name))) for name in parts(path)]
        self.left_out: dict[str, str] = {}  # node -> why the run can't be measured there
        self._taken = False  # whether a job of the run was seen alive, or submitted
        self._trouble = ""

    @property
    def seconds(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._began

    def until_done(self) -> None:
        """Wait for all parts; passes KeyboardInterrupt on, and raises UserError if no job can be submitted."""
        while True:
            self._trouble = ""
            try:
                self._look(queue.states(self._path.name))
                self._submit()
            except ControllerDown as down:
                self._trouble = str(down)
            self._on_progress(self.progress(time.monotonic()))
            if not self._open():
                return
            time.sleep(min(MAX_WAIT, max(MIN_WAIT, self.seconds / 20)))

    def cancel(self) -> str:
        """Cancel all jobs, and wait a little for their end; returns the outcome in a clause."""
        end = time.monotonic() + CANCEL_SECONDS
        try:
            while alive := [state.job for state in queue.states(self._path.name) if state.is_alive]:
                queue.cancel(alive)
                if time.monotonic() > end:
                    return f"{plural(len(alive), 'job')} {'was' if len(alive) == 1 else 'were'} told to end"
                time.sleep(MIN_WAIT)
        except ControllerDown as down:
            return f"its jobs go on, since they could not be cancelled: {down}"
        return "its jobs are cancelled"

    def _open(self) -> list[JobPart]:
        return [part for part in self.parts if part.state == "open"]

    def _look(self, states: list[JobState]) -> None:
        """Judge each part by its own files, which may be newer than the controller's answer, then by that answer."""
        by_job = {state.job: state for state in states}
        alive = {state.name: state for state in states if state.is_alive}
        for part in self._open():
            if is_finished(self._path, part.name, self._settings.model_dump(mode="json")):
                part.state = "finished"
                continue
            # A job of its name that is unknown here: of an earlier submitter, or sbatch got no answer.
            state = alive.get(self._name(part)) if part.job is None else by_job.get(part.job)
            if state is not None and state.is_alive:
                part.job, self._taken = state.job, True
                if state.waits_for:
                    self._trouble = f"Slurm has job {state.job} wait: {state.waits_for}"
                if state.state == "RUNNING" and part.running_since is None:
                    part.running_since = time.monotonic()
            elif part.job is not None:
                self._note_ended(part, state)

    def _name(self, part: JobPart) -> str:
        return f"{self._path.name}.{part.name}"

    def _note_ended(self, part: JobPart, state: JobState | None) -> None:
        """Note that a job has ended though its part is not finished: it is lost, unless its node or nobody is at fault.

        A job that completed measured its part to the end, by the settings that the run had when the job began.
        """
        part.job = part.running_since = None
        if state is None:
            part.lost.append("it has gone from the queue")
        elif state.exit_code == f"{UNLIKE}:0":
            self.left_out[state.node] = f"it is unlike the first: {self._last_words(state)}"
            return
        elif state.state == "COMPLETED":
            return
        else:
            # Slurm tells a signal too where it can't open the log.
            speaks = state.state == "FAILED" and not (state.killed_by and self._log(state).exists())
            part.lost.append((self._last_words(state) if speaks else "") or state.how_it_ended)
        is_unwanted = state is not None and state.state == "CANCELLED"  # somebody does not want it to run
        if is_unwanted or len(part.lost) >= MAX_LOST:
            self._give_up(part, f"{LOST}{'' if is_unwanted else f' {MAX_LOST} times'}: {part.lost[-1]}")

    def _last_words(self, state: JobState) -> str:
        """Return the last line that a job has written to its standard error."""
        file = self._log(state)
        if not file.exists():
            return f"its node {state.node} wrote no log into {self._path}: give a folder that all nodes share"
        return last_line(file.read_text(errors="replace"))[:300]

    def _log(self, state: JobState) -> Path:
        return queue.log(self._path / LOGS, state.job)

    def _give_up(self, part: JobPart, why: str) -> None:
        """Mark the cases of a part that were not measured as failed; the others keep what they have."""
        part.state = "given up"
        self._change(part, "pending", "", "failed", why)

    def _change(self, part: JobPart, old: Status, reason: str, new: Status, why: str) -> None:
        """Give another status to the cases of a part that have this one, for a reason that begins so."""
        folder = RunFolder(self._path, part.name)
        for measurement in last_measurements(self._path, part.name).values():
            if measurement.status == old and measurement.reason.startswith(reason):
                folder.add_measurement(replace(measurement, status=new, reason=why))
        folder.close()

    def _submit(self) -> None:
        """Submit jobs for the parts that need one, as many as may be in the queue; raises ControllerDown."""
        parameters = dict(self._parameters)
        options = parameters["additional_parameters"] = dict(parameters["additional_parameters"])
        if self.left_out:
            options["exclude"] = ",".join(filter(None, [options.get("exclude"), *self.left_out]))
        waiting = [part for part in self._open() if part.job is None]
        for part in waiting[: max(0, self._most - len(self._open()) + len(waiting))]:
            self._change(part, "failed", LOST, "pending", NO_JOB_YET)  # by an earlier submitter
            arguments = (str(self._path), part.name, str(self._root))
            try:
                part.job = queue.submit(self._path / LOGS, self._name(part), measure_part, arguments, parameters)
            except JobRefused as words:
                self._refuse(part, str(words), options)
                return
            self._taken = True

    def _refuse(self, part: JobPart, words: str, options: Mapping[str, Any]) -> None:
        """Handle a refusal: if the run has other jobs, these may be too many for now; else Slurm never takes them."""
        shown = " ".join(f"{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True)
        fault = f"Slurm takes no such job: {words}{f' (asked: {shown})' if shown else ''}"
        if any(other.job is not None for other in self._open()):
            self._trouble = fault
            return
        if not self._taken:
            raise NotTaken(f"Slurm: {fault}")
        left_out = "; ".join(f"node {node} was left out, since {why}" for node, why in self.left_out.items())
        self._give_up(part, f"{LOST}: {left_out or fault}")

    def progress(self, now: float) -> JobsProgress:
        """Return how far the parts are; running jobs count by the replicates that they have begun."""
        is_open = self._open()
        done = [part for part in self.parts if part.state != "open"]
        spent = {part.name: now - part.running_since for part in is_open if part.running_since is not None}
        begun = Counter(file.name.split("-")[1] for file in self._path.glob("windows-*"))
        shares = {name: min(MAX_SHARE, begun[name] / (self._settings.replicates + 1)) for name in spent}
        finished = [read_info(self._path, part.name).seconds for part in done if part.state == "finished"]
        took = [seconds for seconds in finished if seconds is not None]
        job_seconds = fmean(took) if took else self._settings.budget_seconds
        seconds_left = None
        if job_seconds is not None and spent:  # as many jobs keep running at the same time
            ahead = job_seconds * len(is_open) - sum(min(job_seconds, seconds) for seconds in spent.values())
            seconds_left = ahead / len(spent)
        cases_done = sum(
            part.cases * (1 if part.state != "open" else shares.get(part.name, 0.0)) for part in self.parts
        )
        return JobsProgress(
            jobs=len(self.parts),
            done=len(done),
            running=len(spent),
            waiting=len(is_open) - len(spent),
            lost=sum(len(part.lost) for part in self.parts),
            cases=sum(part.cases for part in self.parts),
            cases_done=cases_done,
            seconds_left=seconds_left,
            trouble=self._trouble,
        )
