"""The submitting side of a run by Slurm's jobs, from start to end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator.resume import refuse_other_cells, refuse_other_suite
from rnnbench.harness.coordinator.session import filling, resolved
from rnnbench.harness.machine import git
from rnnbench.harness.slurm import queue
from rnnbench.harness.slurm.options import asked, parse
from rnnbench.harness.slurm.outcome import SLURM, summed_up
from rnnbench.harness.slurm.parts import read_parts, split, write_parts
from rnnbench.harness.slurm.progress import JobsProgress
from rnnbench.harness.slurm.watch import NotTaken, Watch
from rnnbench.store.folder import RunFolder, parts, read_info
from rnnbench.store.records import Group
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings
from rnnbench.suites import Suite

GROUPS_PER_JOB = 16
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
    given = parse(options)
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
    given = parse(options)
    info = read_info(path)
    refuse_other_suite(path, info, suite.content.model_dump(mode="json"))
    if not parts(path):
        raise UserError(f"{path}: it was not made by Slurm, and can't be resumed by it")
    stored = (case for part in read_parts(path) for case in part.cases)
    refuse_other_cells(path, stored, suite.name, suite.values()["cell"])
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


def _go_on(
    folder: RunFolder, info: RunInfo, settings: Settings, root: Path, given: dict[str, str], on_progress: OnProgress
) -> None:
    """Submit and wait; `run.json` records how the run ended, even after an error. Raises UserError if a write fails."""
    path = folder.path
    stored = read_parts(path)
    finished = False
    try:
        watch = Watch(path, stored, settings, asked(stored, settings, given), root, on_progress)
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
            watch.close()
            folder.close()
    except OSError as fault:
        raise UserError(f"{path}: can't be written: {fault.strerror}; the run can be resumed") from None
