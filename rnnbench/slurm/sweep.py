"""The submitting side of a run by Slurm's jobs, from start to end, and the `run.json` of the whole run."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator.budget import wider_than_asked
from rnnbench.harness.coordinator.resume import refuse_other_suite
from rnnbench.harness.coordinator.session import filling, resolved
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine import git
from rnnbench.slurm import queue
from rnnbench.slurm.job import MISSED, NODES, first_machine
from rnnbench.slurm.watch import NO_JOB_YET, JobsProgress, NotTaken, Watch
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.folder import RunFolder, last_measurements, parts, read_info
from rnnbench.store.records import Group, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.file import Settings
from rnnbench.suite.suites import Suite
from rnnbench.text import plural

GROUPS_PER_JOB = 16
SLURM = "slurm"  # key of the environment
RESUMED = "resumed by: "  # begins the notes that stay; the others are made anew at each end
OnProgress = Callable[[JobsProgress], None]


def run_by_slurm(
    suite: Suite,
    groups: Sequence[Group],
    settings: Settings,
    *,
    out: Path,
    command: str,
    options: Sequence[str],
    groups_per_job: int,
    on_progress: OnProgress,
) -> Path:
    """Measure a suite into a new folder below `out` by jobs of at most `groups_per_job` groups; returns the folder.

    Budget and precision apply to each job. Raises UserError if Slurm is missing or refuses the jobs, or if a folder
    can't be written. Raises Interrupted on Ctrl-C, with all jobs cancelled: what was measured stays.
    """
    queue.require()
    given = queue.parse(options)
    pieces = split(groups, groups_per_job)
    folder = RunFolder.create(out, suite.name)
    info = RunInfo.begin(
        suite=suite.name,
        description=suite.content.description,
        resolved=resolved(suite, settings),
        command=command,
        environment={"git": git.state(suite.file.parent), SLURM: {"options": given}},
    )
    with filling(folder, out):
        folder.write_info(info)
        write_parts(folder.path, pieces)
    try:
        _go_on(folder, info, settings, suite.file.parent, given, on_progress)
    except NotTaken:
        folder.discard()
        raise
    return folder.path


def resume_by_slurm(
    path: Path,
    suite: Suite,
    changes: Mapping[str, float],
    *,
    command: str,
    options: Sequence[str],
    on_progress: OnProgress,
) -> None:
    """Resume a run: wait for those of its jobs that are still there, and submit what is missing.

    Jobs get the settings and options that the run began with; `changes` and `options` replace and add. Raises what
    `run_by_slurm` raises, and UserError if the folder is no such run or belongs to another suite.
    """
    queue.require()
    given = queue.parse(options)
    info = read_info(path)
    refuse_other_suite(path, info, suite.content.model_dump(mode="json"))
    if not parts(path):
        raise UserError(f"{path}: it was not made by Slurm, and can't be resumed by it")
    settings = Settings(**info.resolved["measure"]).model_copy(update=dict(changes))
    folder = RunFolder(path)
    before = info.environment.get(SLURM, {})  # runs of older versions do not know their options
    given = before.get("options", {}) | given
    info = replace(
        info,
        resolved=resolved(suite, settings),
        notes=[*(note for note in info.notes if note.startswith(RESUMED)), f"{RESUMED}{command}"],
        environment=info.environment | {SLURM: before | {"options": given}},
        status="running",
    )
    folder.write_info(info)
    _go_on(folder, info, settings, suite.file.parent, given, on_progress)


def split(groups: Sequence[Group], most: int) -> list[Sequence[Group]]:
    """Split groups into even pieces of at most `most` neighbours; raises UserError if jobs would be unlike."""
    kinds = {is_shared(group.workload.device): group.workload.device for group in groups}
    if len(kinds) > 1:
        raise UserError(
            f"Slurm: cases on {kinds[True]} and on {kinds[False]} need different kinds of jobs; "
            f"choose one, for example device={kinds[True]}"
        )
    pieces = math.ceil(len(groups) / most)
    bounds = [len(groups) * piece // pieces for piece in range(pieces + 1)]
    return [groups[start:end] for start, end in pairwise(bounds)]


def write_parts(path: Path, pieces: Sequence[Sequence[Group]]) -> None:
    """Give each part its file, with all of its cases pending; nothing else records which part a case is in."""
    for number, piece in enumerate(pieces):
        folder = RunFolder(path, f"p{number:05d}")
        for group in piece:
            for case in group.cases:
                folder.add_measurement(Measurement(case, "pending", NO_JOB_YET))
        folder.close()


def _go_on(
    folder: RunFolder, info: RunInfo, settings: Settings, root: Path, given: dict[str, str], on_progress: OnProgress
) -> None:
    """Submit and wait; `run.json` records how the run ended, even after an error. Raises UserError if a write fails."""
    path = folder.path
    workloads = {measurement.case.workload for measurement in last_measurements(path).values()}
    cards = 0 if all(is_shared(workload.device) for workload in workloads) else 1
    parameters = queue.requested(cards, max(workload.cores for workload in workloads), settings, given)
    most = int(given.get("array_parallelism", queue.MAX_JOBS))
    finished = False
    try:
        watch = Watch(path, settings, parameters, root, most, on_progress)
        try:
            watch.until_done()
            finished = True
        except KeyboardInterrupt:
            raise Interrupted(f"{watch.cancel()}; what was measured is in {path} and can be resumed") from None
        except NotTaken:
            raise  # there is nothing to cancel
        except UserError:
            watch.cancel()
            raise
        finally:
            folder.write_info(summed_up(path, info, watch, settings, finished=finished))
            folder.close()
    except OSError as fault:
        raise UserError(f"{path}: can't be written: {fault.strerror}; the run can be resumed") from None


def summed_up(path: Path, info: RunInfo, watch: Watch, settings: Settings, *, finished: bool) -> RunInfo:
    """Return `info` with what all parts have recorded, and notes about all of them together."""
    part_infos = [read_info(path, part.name) for part in watch.parts if (path / f"run-{part.name}.json").exists()]
    lost = Counter(info.environment[SLURM].get("jobs lost", {}))  # before the run was resumed
    lost.update(why for part in watch.parts for why in part.lost)
    repeated = Counter(note for part_info in part_infos for note in part_info.notes)
    notes = [
        *info.notes,
        *(note if count == 1 else f"{note} ({count} jobs)" for note, count in repeated.items()),
        *(f"node {node} was left out, since {why}" for node, why in watch.left_out.items()),
        *(f"{plural(count, 'job')} lost, since {why}" for why, count in lost.items()),
    ]
    needed = [part_info.seconds_needed for part_info in part_infos if part_info.seconds_needed is not None]
    if finished:
        missed = sum(part_info.environment.get(MISSED, 0) for part_info in part_infos)
        groups = len({measurement.case.workload for measurement in last_measurements(path).values()})
        notes += wider_than_asked(missed, groups, settings)
    # The environment of the first job, which all others share: the machines are alike, so the best rate that any of
    # them reached is the limit of all.
    first = first_machine(path)
    environment = dict(info.environment if first is None else first.environment)
    environment.pop(NODES, None)
    environment[SLURM] = {
        "options": info.environment[SLURM]["options"],
        "jobs": len(watch.parts),
        "nodes": sorted({node for part_info in part_infos for node in part_info.environment.get(NODES, [])}),
        "nodes left out": sorted(watch.left_out),
        "jobs lost": dict(lost),
    }
    ceilings = best_of(ceiling for part_info in part_infos for ceiling in map(Ceiling.from_json, part_info.ceilings))
    stages = {stage for part_info in part_infos for stage in part_info.stage_seconds}
    # Without the time from an interruption to its resumption, if that is known.
    since = (datetime.now(UTC) - datetime.fromisoformat(info.started)).total_seconds()
    return replace(
        info,
        status="finished" if finished else "interrupted",
        seconds=round(since if info.seconds is None else info.seconds + watch.seconds, 1),
        seconds_needed=max(needed, default=None) if finished else None,
        replicates=max((part_info.replicates for part_info in part_infos), default=0),
        ceilings=[ceiling.to_json() for ceiling in ceilings],
        stage_seconds={
            stage: max(part_info.stage_seconds.get(stage, 0.0) for part_info in part_infos) for stage in sorted(stages)
        },
        notes=list(dict.fromkeys(notes)),
        environment=environment,
    )
