"""Wait for the jobs of a run, and submit parts that have no job or have lost it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.slurm import queue
from rnnbench.harness.slurm.job import UNLIKE, is_finished, measure_part
from rnnbench.harness.slurm.jobs import Ledger, PartStatus
from rnnbench.harness.slurm.options import MAX_IN_ARRAY
from rnnbench.harness.slurm.parts import NO_JOB_YET, JobPart
from rnnbench.harness.slurm.progress import JobsProgress, progress
from rnnbench.harness.slurm.queue import ControllerDown, JobRefused, JobState
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.store.regular_files import read_end
from rnnbench.suite_file import Settings
from rnnbench.text import last_line, plural

MAX_LOST = 3  # jobs of a part: it is sent again twice
MIN_WAIT, MAX_WAIT = 0.5, 10.0  # seconds between looks: longer as the run goes on
SUBMIT_SECONDS = 300.0  # to wait for a controller before anything was submitted
UNSEEN_SECONDS = 90.0  # until a job's log must be here; caches of NFS hold for a minute
CANCEL_SECONDS = 20.0  # to wait for the end of cancelled jobs
LOST = "its job was lost"
MAX_LOG_BYTES = 1 << 16  # of the end of a job's log
LOGS = "slurm"  # folder of a run, with what submitit writes


class NotTaken(UserError):
    """Slurm takes none of the jobs."""


class TooManyJobs(NotTaken):
    """Slurm takes none of the jobs, since the user or the cluster has too many."""


class Watch:
    """Watches every part of a run with its job, until all parts are finished or given up."""

    def __init__(
        self,
        path: Path,
        parts: Sequence[JobPart],
        settings: Settings,
        asked: Mapping[str, Any],
        root: Path,
        on_progress: Callable[[JobsProgress], None],
    ) -> None:
        """Take over jobs of the run that already exist. `root`: what files of a user's own cells are relative to."""
        self._path = path.resolve()
        self._settings = settings
        self._asked = dict(asked)
        self._root = root.resolve()
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._ledger = Ledger(path)
        self.statuses = [PartStatus(part, self._ledger.tickets.get(part.name)) for part in parts]
        self.left_out: dict[str, str] = {}  # node -> why the run can't be measured there
        self._taken = False  # whether a job of the run was seen alive, or submitted
        self._is_first_look = True
        self._trouble = ""
        self._ran = 0  # jobs at the last look
        self._in_array = min(MAX_IN_ARRAY, queue.max_in_array() or MAX_IN_ARRAY)

    def until_done(self) -> None:
        """Wait for all parts; passes KeyboardInterrupt on, and raises UserError if no job can be submitted."""
        while True:
            self._trouble = ""
            try:
                self._look(queue.states(self._names()))
                self._submit()
            except ControllerDown as down:
                self._trouble = str(down)
                self._note_finished()
                if not self._taken and self.seconds > SUBMIT_SECONDS:
                    raise NotTaken(f"Slurm: no job within {SUBMIT_SECONDS:g} s: {down}") from None
            self._tell()
            if not self._open():
                return
            time.sleep(min(MAX_WAIT, max(MIN_WAIT, self.seconds / 20)))

    def _tell(self) -> None:
        now = time.monotonic()
        step = progress(self._path, self.statuses, self._settings, now, ran=self._ran, trouble=self._trouble)
        self._ran = step.running
        self._on_progress(step)

    def cancel(self) -> str:
        """Cancel all jobs, and wait a little for their end; returns the outcome in a clause."""
        end = time.monotonic() + CANCEL_SECONDS
        try:
            while alive := [state.job for state in queue.states(self._ledger.names).values() if state.alive]:
                queue.cancel(alive)
                if time.monotonic() > end:
                    return f"{plural(len(alive), 'job')} {'was' if len(alive) == 1 else 'were'} told to end"
                time.sleep(MIN_WAIT)
        except ControllerDown as down:
            return f"its jobs go on, since they could not be cancelled: {down}"
        return "its jobs are cancelled"

    @property
    def seconds(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._began

    def close(self) -> None:
        """Close what is open."""
        self._ledger.close()

    def _open(self) -> list[PartStatus]:
        return [status for status in self.statuses if status.state == "open"]

    def _names(self) -> list[str]:
        return sorted({status.ticket.name for status in self._open() if status.ticket})

    def _note_finished(self) -> None:
        for status in self._open():
            if is_finished(self._path, status.part.name, self._settings.model_dump(mode="json")):
                status.state = "finished"

    def _look(self, states: queue.JobStates) -> None:
        """Judge each part by the controller's answer, then by its own files, which may be newer."""
        self._note_finished()
        for status in self._open():
            if status.ticket is None:
                continue
            state = queue.state_of(status.ticket, states)
            if state is not None:
                status.in_doubt = False
                if self._is_unseen(status, state):
                    self._leave_out_if_late(status, state)
                    continue
            if state is not None and state.alive:
                self._taken = True
                if state.waits_for:
                    self._trouble = f"Slurm has job {state.job} wait: {state.waits_for}"
                if state.runs and status.running_since is None:
                    status.running_since = time.monotonic()
            else:
                self._note_ended(status, state)
        self._is_first_look = False

    def _is_unseen(self, status: PartStatus, state: JobState) -> bool:
        """Whether a job has started, but its log is not here yet."""
        started = state.runs or (state.state in ("FAILED", "COMPLETED") and not self._is_first_look)
        if not started or queue.log(self._path / LOGS, state.job).exists():
            status.unseen_since = None
            return False
        if status.unseen_since is None:
            status.unseen_since = time.monotonic()
        return True

    def _leave_out_if_late(self, status: PartStatus, state: JobState) -> None:
        """Leave out the node of a job whose log stays missing; the part needs another job, and the job is not lost."""
        assert status.unseen_since is not None
        if time.monotonic() - status.unseen_since <= UNSEEN_SECONDS:
            return
        self.left_out[state.node] = f"it can't write into {self._path}: give a folder that all nodes share"
        if state.alive:
            queue.cancel([state.job])
        status.ticket = status.running_since = status.unseen_since = None

    def _note_ended(self, status: PartStatus, state: JobState | None) -> None:
        """Note that a job has ended though its part is not finished."""
        never_was = state is None and status.in_doubt
        status.ticket = status.running_since = None
        if state is not None and state.exit_code == f"{UNLIKE}:0" and state.node not in status.without:
            self.left_out[state.node] = f"it is unlike the first: {self._last_words(state)}"
        elif state is not None and state.state == "COMPLETED":
            pass  # it measured its part to the end, by the settings that the run had when the job began
        elif not (self._is_first_look or never_was):  # at the first look: the job ended while nobody waited for it
            status.lost.append(self._why_lost(state))
            if state is not None and state.state == "CANCELLED":  # by somebody who does not want it to run
                self._give_up(status, f"{LOST}: {status.lost[-1]}")
            elif len(status.lost) >= MAX_LOST:
                self._give_up(status, f"{LOST} {MAX_LOST} times: {status.lost[-1]}")

    def _why_lost(self, state: JobState | None) -> str:
        if state is None:
            return "it has gone from the queue"
        speaks = state.state == "FAILED" and not state.killed_by
        return (self._last_words(state) if speaks else "") or state.how_it_ended

    def _last_words(self, state: JobState) -> str:
        """The last line that a job has written to its standard error."""
        file = queue.log(self._path / LOGS, state.job)
        if not file.exists():
            return ""
        return last_line(read_end(file, MAX_LOG_BYTES).decode(errors="replace"))[:300]

    def _give_up(self, status: PartStatus, why: str) -> None:
        """Mark the cases of a part that were not measured as failed; the others keep what they have."""
        status.state = "given up"
        folder = RunFolder(self._path, status.part.name)
        for measurement in last_measurements(self._path, status.part.name).values():
            if measurement.status == "pending":
                folder.add_measurement(replace(measurement, status="failed", reason=why))
        folder.close()

    def _submit(self) -> None:
        """Submit jobs for the parts that need one; raises ControllerDown."""
        while wanting := [status for status in self._open() if status.ticket is None]:
            array = wanting[: self._in_array]
            names = [status.part.name for status in array]
            self._reset_failed(names)
            name = self._ledger.enter(names)
            arguments = [(str(self._path), part, str(self._root)) for part in names]
            # Before Slurm is asked: if it gives no answer it may have the jobs, and a part must never have two.
            for status in array:
                status.ticket, status.in_doubt = self._ledger.tickets[status.part.name], True
                status.without = tuple(self.left_out)
            try:
                queue.submit(self._path / LOGS, name, measure_part, arguments, self._asked_now())
            except JobRefused as words:
                for status in array:
                    status.ticket = None
                if len(array) > 1 and queue.is_of_a_limit(str(words)):
                    self._in_array = len(array) // 2
                    continue
                self._refuse(array, str(words))
                return
            self._taken = True
            for status in array:
                status.in_doubt = False

    def _asked_now(self) -> dict[str, Any]:
        """The parameters for submitit, which exclude the nodes that are left out."""
        options = dict(self._asked["additional_parameters"])
        if self.left_out:
            options["exclude"] = ",".join(filter(None, [options.get("exclude"), *self.left_out]))
        return {**self._asked, "additional_parameters": options}

    def _refuse(self, array: Sequence[PartStatus], words: str) -> None:
        """Handle a refusal: if the run has other jobs, these may be too many for now; else Slurm never takes them."""
        options = self._asked_now()["additional_parameters"]
        shown = " ".join(f"{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True)
        fault = f"Slurm takes no such job: {words}{f' (asked: {shown})' if shown else ''}"
        if self._names():
            self._trouble = fault
            return
        if not self._taken:
            raise (TooManyJobs if queue.is_of_a_limit(words) else NotTaken)(f"Slurm: {fault}")
        left_out = "; ".join(f"node {node} was left out, since {why}" for node, why in self.left_out.items())
        for status in array:
            self._give_up(status, f"{LOST}: {left_out or fault}")

    def _reset_failed(self, names: Sequence[str]) -> None:
        """Make cases pending again that failed because jobs were lost in an earlier part of the run."""
        for name in names:
            failed = [
                measurement
                for measurement in last_measurements(self._path, name).values()
                if measurement.status == "failed" and measurement.reason.startswith(LOST)
            ]
            if failed:
                folder = RunFolder(self._path, name)
                for measurement in failed:
                    folder.add_measurement(replace(measurement, status="pending", reason=NO_JOB_YET))
                folder.close()
