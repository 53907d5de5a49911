"""The submitting side of a run by Slurm's jobs: parts, their jobs until all have ended, and the whole `run.json`."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator.session import (
    RESUMABLE,
    begun,
    faults_in_words,
    recorded,
    resolved,
    wider_than_asked,
)
from rnnbench.harness.coordinator.start import refuse_other_suite
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine import git
from rnnbench.slurm import queue
from rnnbench.slurm.job import MACHINE, MISSED, NODE, UNLIKE, is_finished, measure_part
from rnnbench.slurm.queue import JobState, SlurmFault
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.folder import RunFolder, last_measurements, parts, read_info
from rnnbench.store.records import Group, Measurement
from rnnbench.store.run_info import Note, RunInfo, RunStatus, of_kinds, read_info_file
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of
from rnnbench.suite.suites import Suite
from rnnbench.text import last_line, plural

JOBS = 8  # that share the groups of a run; more if one would get over `GROUPS_PER_JOB`
GROUPS_PER_JOB = 16
MAX_JOBS = 500  # of a run in the queue at once, unless the user says otherwise: others are submitted as these end
MAX_LOST = 3  # jobs of a part: it is sent again twice
# Seconds between looks: longer as the run goes on.
MIN_WAIT = 0.5
MAX_WAIT = 10.0
NOT_LOST = ("COMPLETED", "PREEMPTED")  # states of a job that has ended and is no failure of its own
NO_JOB = "no job measured it"  # why cases were not measured
ENVIRONMENT_KEY = "slurm"  # of the environment of a run
LOG_FOLDER = "slurm"  # folder of a run, with what submitit writes
OnProgress = Callable[[str], None]  # is told how far the jobs are, in words, at each change


@dataclass
class JobPart:
    """Some groups of a run, which one job at a time measures."""

    name: str
    job: str | None = None  # its job's number; None: it needs a job
    state: Literal["waiting", "running", "done"] = "waiting"  # done: it is finished or given up
    lost: list[str] = field(default_factory=list)  # why its jobs ended before the part was finished


def run_by_slurm(
    suite: Suite,
    groups: Sequence[Group],
    settings: Settings,
    *,
    slurm_options: Sequence[str],
    out: Path,
    command: str,
    on_progress: OnProgress,
) -> Path:
    """Measure a suite by jobs into a new folder below `out`, and return the folder.

    `slurm_options`: long options of sbatch, such as `partition=gpu`. Budget and precision apply to each job.

    Raises UserError if Slurm is missing or refuses the jobs, or if a folder can't be written; Interrupted on Ctrl-C,
    with all jobs cancelled: what was measured stays.
    """
    queue.require()
    options = queue.parse(slurm_options)
    refuse_numbers(groups, options)
    about = {"git": git.commit_and_changes(suite.file.parent), ENVIRONMENT_KEY: {"options": options}}
    with begun(suite, settings, out=out, command=command, environment=about) as (folder, info):
        folder.write_info(info)
        write_parts(folder.path, groups)
    try:
        _go_on(folder, info, suite.file.parent, on_progress)
    except UserError:
        if not any(folder.path.glob("run-p*.json")):  # no job has begun
            folder.discard()
        raise
    return folder.path


def resume_by_slurm(
    path: Path,
    suite: Suite,
    *,
    slurm_options: Sequence[str],
    changes: Mapping[str, float],
    command: str,
    on_progress: OnProgress,
) -> None:
    """Resume a run: wait for those of its jobs that are still there, and submit what is missing.

    Jobs get the settings and options that the run began with; those in `changes` and `slurm_options` replace them.
    Raises what `run_by_slurm` raises, and UserError if the folder is no such run or belongs to another suite.
    """
    queue.require()
    info = read_info(path)
    refuse_other_suite(path, info, suite)
    if not parts(path) or ENVIRONMENT_KEY not in info.environment:
        raise UserError(f"{path}: no jobs of Slurm measured this run; resume it without Slurm")
    settings = Settings(**info.resolved["measure"]).with_changes(changes)
    options = info.environment[ENVIRONMENT_KEY].get("options", {}) | queue.parse(slurm_options)
    info = replace(
        info,
        resolved=resolved(suite, settings),
        # The other notes are made anew at the end.
        notes=[*of_kinds(info.notes, ["resumed by"]), Note(command, "resumed by")],
        environment=info.environment | {ENVIRONMENT_KEY: {"options": options}},
    )
    _go_on(RunFolder(path), info, suite.file.parent, on_progress)


def refuse_numbers(groups: Sequence[Group], options: Mapping[str, str]) -> None:
    """Raise UserError for cases on a numbered card: a job sees a single card, as `cuda` or `cuda:0`.

    Options of a user that ask for cards may ask for several.
    """
    if any(name.startswith(("gpus", "gres", "tres")) for name in options):
        return
    for device in dict.fromkeys(group.workload.device for group in groups):
        kind, _, number = device.partition(":")
        if number not in ("", "0"):
            raise UserError(f"cases on {device}: each job sees one card, whatever its number; choose the device {kind}")


def write_parts(path: Path, groups: Sequence[Group]) -> None:
    """Deal groups out to parts of neighbours, each with a file that has the part's cases, all pending.

    Nothing else records which part a case is in. Raises UserError if jobs would be unlike.
    """
    kinds = {is_shared(group.workload.device): group.workload.device for group in groups}
    if len(kinds) > 1:
        raise UserError(
            f"cases on {kinds[True]} and on {kinds[False]} need different kinds of jobs; "
            f"choose one, for example device={kinds[True]}"
        )
    pieces = max(min(JOBS, len(groups)), math.ceil(len(groups) / GROUPS_PER_JOB))
    for number in range(pieces):
        folder = RunFolder(path, f"p{number:05d}")
        for case in cases_of(groups[len(groups) * number // pieces : len(groups) * (number + 1) // pieces]):
            folder.add_measurement(Measurement(case, "pending", NO_JOB))
        folder.close()


def _go_on(folder: RunFolder, info: RunInfo, root: Path, on_progress: OnProgress) -> None:
    """Submit and wait; `run.json` records how the run ended, even after an error. Raises UserError if a write fails."""
    watch = Watch(folder.path, info, root, on_progress)
    with (
        closing(folder),
        faults_in_words(folder.path, RESUMABLE),
        recorded(folder, info, watch.summed_up),
    ):
        watch.until_done()


class Watch:
    """Watches every part of a run with its job, until all parts are finished or given up."""

    def __init__(self, path: Path, info: RunInfo, root: Path, on_progress: OnProgress) -> None:
        """`info`: what the run says at its start; `root`: the folder that files of a user's cells are relative to."""
        self._path = path.resolve()
        self._info = info
        self._root = root.resolve()
        self._settings = Settings(**info.resolved["measure"])
        self._workloads = {measurement.case.workload for measurement in last_measurements(path).values()}
        self._on_progress = on_progress
        self.began = time.monotonic()
        options = dict(info.environment[ENVIRONMENT_KEY]["options"])
        self._most = int(options.pop("array_parallelism", MAX_JOBS))  # jobs in the queue at once
        self._reference_node: str | None = options.pop("reference_node", None)  # None: that of the first job
        cards = 0 if all(is_shared(workload.device) for workload in self._workloads) else 1
        cores = max(workload.cores for workload in self._workloads)
        self._parameters = queue.job_parameters(cards, cores, self._settings, options)
        self.parts = [JobPart(name) for name in parts(path)]
        self.left_out: dict[str, str] = {}  # node -> how it differs from that of the first job
        self.preempted = 0  # jobs that had to make room for others, and were sent again

    def until_done(self) -> None:
        """Wait for all parts; cancels the jobs on Ctrl-C and if `wait` raises."""
        try:
            self.wait()
        except (KeyboardInterrupt, UserError) as end:
            outcome = "its jobs are cancelled"
            try:
                queue.cancel(self._path.name)
            except SlurmFault as fault:
                outcome = f"its jobs go on, since they could not be cancelled: {fault}"
            except KeyboardInterrupt:
                outcome = f"some of its jobs ({self._path.name}.*) may go on, since cancelling them was interrupted"
            if isinstance(end, UserError):
                raise
            raise Interrupted(f"{outcome}; what was measured is in {self._path}; {RESUMABLE}") from None

    def wait(self) -> None:
        """Wait for all parts; raises UserError if no job is accepted and no other job is left to wait for."""
        last_words = ""
        while any(part.state != "done" for part in self.parts):
            try:
                self._look(queue.states(self._path.name))
                trouble = self._submit()
            except SlurmFault as fault:  # the controller gives no answer: it is asked again
                trouble = str(fault)
            states = Counter(part.state for part in self.parts)
            lost = sum(len(part.lost) for part in self.parts)
            counts = {"running": states["running"], "waiting": states["waiting"], "lost": lost}
            counts["preempted"] = self.preempted
            done = f"{states['done']:,} of {plural(len(self.parts), 'job')} done"
            words = ", ".join([done, *(f"{count:,} {word}" for word, count in counts.items() if count)])
            words += f"; {trouble}" if trouble else ""
            if words != last_words:
                self._on_progress(words)
            last_words = words
            if states["done"] < len(self.parts):
                time.sleep(min(MAX_WAIT, max(MIN_WAIT, (time.monotonic() - self.began) / 20)))

    def _look(self, states: list[JobState]) -> None:
        """Judge each part by its own files, which may be newer than the controller's answer, then by that answer.

        A job of its name may be one that is not known here: of an earlier submitter, or sbatch got no answer.
        """
        by_job = {state.job: state for state in states}
        alive = {state.name: state for state in states if state.is_alive}
        for part in self.parts:
            state = alive.get(f"{self._path.name}.{part.name}")
            if part.state == "done" or is_finished(self._path, part.name, self._info.resolved["measure"]):
                part.state = "done"
            elif state is not None:
                part.job = state.job
                part.state = "waiting" if state.state == "PENDING" else "running"
            elif part.job is not None:
                self._note_ended(part, by_job.get(part.job))

    def _note_ended(self, part: JobPart, state: JobState | None) -> None:
        """Note that a job has ended though its part is not finished: it is lost, unless its node or nobody is at fault.

        A job that completed measured its part to the end, by the settings that the run had when the job began. One that
        was preempted made room for another: it is sent again, however often.
        """
        log = self._path / LOG_FOLDER / f"{part.job}_0_log.err"
        part.job = None
        part.state = "waiting"
        why = "it is no longer in the queue"
        if state is not None:
            share = f"its node {state.node} wrote no log into {self._path}: give a folder that all nodes share"
            words = last_line(log.read_text(errors="replace"))[:300] if log.exists() else share
            if state.exit_code == f"{UNLIKE}:0":
                self.left_out[state.node] = f"its machine differs from the first job's: {words}"
            self.preempted += state.state == "PREEMPTED"
            if state.exit_code == f"{UNLIKE}:0" or state.state in NOT_LOST:
                return
            why = f"it ended as {state.state} ({state.exit_code})"
            why += f": {words}" if state.state == "FAILED" and words else ""
        part.lost.append(why)
        if len(part.lost) >= MAX_LOST or (state is not None and state.state == "CANCELLED"):  # somebody stops it
            part.state = "done"

    def _submit(self) -> str:
        """Submit jobs for the parts that need one, as many as the queue may hold; returns why no more are accepted.

        Raises UserError if it takes none, and no other job is left to wait for.
        """
        options = dict(self._parameters["additional_parameters"])
        if self.left_out:
            options["exclude"] = ",".join(filter(None, [options.get("exclude"), *self.left_out]))
        undone = [part for part in self.parts if part.state != "done"]
        waiting = [part for part in undone if part.job is None]
        most = self._most - len(undone) + len(waiting)
        if self._reference_node and not (self._path / MACHINE).exists():  # the others wait until it has been described
            options["nodelist"] = self._reference_node
            most = min(most, 1 - len(undone) + len(waiting))
        for part in waiting[: max(0, most)]:
            arguments = (str(self._path), part.name, str(self._root))
            name = f"{self._path.name}.{part.name}"
            parameters = {**self._parameters, "additional_parameters": options}
            try:
                part.job = queue.submit(self._path / LOG_FOLDER, name, measure_part, arguments, parameters)
            except SlurmFault as words:
                texts = [f"{key.replace('_', '-')}={value}" for key, value in options.items() if value is not True]
                why = f"Slurm refuses this job: {words}"
                why += f" (asked: {' '.join(texts)})" if texts else ""
                if all(other.job is None for other in undone):
                    raise UserError(f"Slurm: {why}") from None
                return why  # it may take it when others have ended
        return ""

    def summed_up(self, status: RunStatus) -> RunInfo:
        """Return what the run says at its end: what all parts have recorded, and notes about all of them together."""
        path = self._path
        info = self._info
        infos = [read_info(path, part.name) for part in self.parts if (path / f"run-{part.name}.json").exists()]
        lost = Counter(why for part in self.parts for why in part.lost)
        repeated = Counter(note for part_info in infos for note in part_info.notes)
        of_jobs = [
            *(f"node {node} was left out, since {why}" for node, why in self.left_out.items()),
            *(f"{plural(count, 'job')} lost, since {why}" for why, count in lost.items()),
            *([f"{plural(self.preempted, 'job')} preempted and sent again"] if self.preempted else []),
        ]
        notes = [
            *info.notes,
            *(_of_several(note, jobs) for note, jobs in repeated.items()),
            *map(Note, of_jobs),
        ]
        seconds_needed = [part_info.seconds_needed for part_info in infos if part_info.seconds_needed is not None]
        if status == "finished":
            missed = sum(part_info.environment.get(MISSED, 0) for part_info in infos)
            notes += wider_than_asked(missed, len(self._workloads), self._settings)
        # The environment of the first job, which all others share: the machines are alike, so the best rate that any of
        # them reached is the limit of all.
        first = path / MACHINE
        environment = read_info_file(first).environment if first.exists() else info.environment
        places = {
            "options": info.environment[ENVIRONMENT_KEY]["options"],
            "nodes": sorted({part_info.environment[NODE] for part_info in infos if part_info.environment.get(NODE)}),
        }
        ceilings = best_of(ceiling for part_info in infos for ceiling in map(Ceiling.from_json, part_info.ceilings))
        return replace(
            info,
            status=status,
            seconds=round((info.seconds or 0.0) + time.monotonic() - self.began, 1),
            seconds_needed=max(seconds_needed, default=None) if status == "finished" else None,
            replicates=max((part_info.replicates for part_info in infos), default=0),
            ceilings=[ceiling.to_json() for ceiling in ceilings],
            notes=list(dict.fromkeys(notes)),
            environment=environment | {ENVIRONMENT_KEY: places},
        )


def _of_several(note: Note, jobs: int) -> Note:
    """Return a note with the number of jobs that have made it, if there are several."""
    return note if jobs == 1 else replace(note, words=f"{note.words} ({jobs} jobs)")
