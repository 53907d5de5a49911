"""A run from start to end: the folder, the environment, the runner, what is left when it is interrupted or short."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator import environment
from rnnbench.harness.coordinator.runner import SIDE, Runner
from rnnbench.harness.coordinator.start import read_earlier_run, refuse_other_machine, refuse_other_suite, started
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.folder import RunFolder, parts, read_info
from rnnbench.store.records import NOT_REACHED, Group
from rnnbench.store.run_info import SHORTFALLS, Note, RunInfo, RunStatus, without_kinds
from rnnbench.suite.file import Settings
from rnnbench.suite.suites import Suite
from rnnbench.text import plural

RESUMABLE = "the run can be resumed with `rnnbench run --resume`"


class NoDevice(UserError):
    """None of the devices that the cases need is available."""


def run_suite(
    suite: Suite,
    groups: Sequence[Group],
    settings: Settings,
    *,
    out: Path,
    command: str,
    on_progress: Callable[[Progress], None],
) -> Path:
    """Measure a suite into a new folder below `out`, and return the folder.

    Raises NoDevice, before anything is written, if no case has its device. Raises UserError if `out` can't be written
    or no worker starts, and Interrupted on Ctrl-C: what was measured stays.
    """
    with started(groups, settings) as start:
        if all(group.workload.device in start.unusable for group in groups):
            raise NoDevice("; ".join(dict.fromkeys(start.unusable.values())))
        about = environment.describe(suite.file.parent) | {"worker": start.software}
        with begun(suite, settings, out=out, command=command, environment=about) as (folder, info):
            # Before run.json: if a run is killed here, either it has all of its cases or it is no run yet.
            runner = Runner(groups, settings, start, folder, root=suite.file.parent, on_progress=on_progress)
            folder.write_info(info)
        with closing(folder):
            measure_into(folder, runner, info)
    return folder.path


def resume_run(
    path: Path, suite: Suite, settings: Settings, *, command: str, on_progress: Callable[[Progress], None]
) -> None:
    """Resume a run that was cut off or spent its budget; its windows are kept, and none is measured twice.

    Raises UserError if the folder is no run, is being written to, or belongs to another suite, machine or torch.
    """
    read_info(path)  # before locking, which creates a file: not in a folder that is no run
    if parts(path):
        raise UserError(f"{path}: jobs of Slurm measured this run; resume it with `rnnbench run --executor slurm`")
    with closing(RunFolder(path)) as folder:  # locked before it is read: nobody adds to it in between
        info = read_info(path)
        earlier = replace(read_earlier_run(path), ceilings=info.ceilings)
        refuse_other_suite(path, info, suite)
        groups = suite.with_sweeps(earlier.groups)
        with started(groups, settings) as start:
            refuse_other_machine(path, info, environment.describe(suite.file.parent) | {"worker": start.software})
            root = suite.file.parent
            runner = Runner(groups, settings, start, folder, root=root, earlier=earlier, on_progress=on_progress)
            lasting = without_kinds(info.notes, SHORTFALLS)  # what it lacked is past
            notes = [*lasting, Note(command, "resumed by")]
            measure_into(folder, runner, replace(info, resolved=resolved(suite, settings), notes=notes))


@contextmanager
def begun(
    suite: Suite, settings: Settings, *, out: Path, command: str, environment: dict[str, Any]
) -> Iterator[tuple[RunFolder, RunInfo]]:
    """Make a new run's folder below `out`, which the context fills; it is removed if it can't be filled completely.

    Raises UserError if it can't be written.
    """
    folder = RunFolder.create(out, suite.name)
    try:
        yield folder, first_info(suite, settings, command, environment)
    except BaseException as fault:
        folder.discard()
        if isinstance(fault, OSError):
            raise UserError(f"{out}: can't be written: {fault.strerror}; give another folder") from None
        raise


def first_info(
    suite: Suite, settings: Settings, command: str, environment: dict[str, Any], notes: Sequence[Note] = ()
) -> RunInfo:
    """Return the `run.json` of a run at its start."""
    return RunInfo(
        suite=suite.name,
        description=suite.description,
        resolved=resolved(suite, settings),
        command=command,
        environment=environment,
        notes=[*notes],
    )


def measure_into(folder: RunFolder, runner: Runner, info: RunInfo) -> None:
    """Run, and record in `run.json` how the run ended, with notes about what it lacks."""

    def at_end(status: RunStatus) -> RunInfo:
        whole = ended(info, runner, status)
        return with_shortfall(whole, runner) if status == "finished" else whole

    with faults_in_words(folder.path, RESUMABLE), recorded(folder, info, at_end):
        runner.run()


def ended(info: RunInfo, runner: Runner, status: RunStatus) -> RunInfo:
    """Return the `run.json` of a run, or of a part of one, that has ended."""
    return replace(
        info,
        status=status,
        seconds=round(runner.seconds, 1),
        seconds_needed=None,
        replicates=runner.replicates,
        ceilings=[ceiling.to_json() for ceiling in runner.ceilings],
        stage_seconds=runner.stage_seconds,
        notes=list(dict.fromkeys([*info.notes, *map(Note, runner.notes)])),
        environment=info.environment | {"load_at_the_end": environment.load()},
    )


@contextmanager
def recorded(folder: RunFolder, info: RunInfo, at_end: Callable[[RunStatus], RunInfo]) -> Iterator[None]:
    """Record in `run.json` that a run goes on, and at the end what `at_end` says then, even after an error."""
    status: RunStatus = "interrupted"
    folder.write_info(replace(info, status="running"))
    try:
        yield
        status = "finished"
    finally:
        folder.write_info(at_end(status))


@contextmanager
def faults_in_words(folder: Path, outcome: str) -> Iterator[None]:
    """Say where the data are and what follows, if the user stops what is measured, or if they can't be written."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"what was measured is in {folder}; {outcome}") from None
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}; {outcome}") from None


def resolved(suite: Suite, settings: Settings) -> dict[str, Any]:
    """Return the suite as it was read, with the settings that it is measured with."""
    return suite.model_dump(mode="json") | {"measure": settings.model_dump(mode="json")}


def with_shortfall(info: RunInfo, runner: Runner) -> RunInfo:
    """Return the `run.json` of a finished run with notes about what it lacks, and the budget that would be enough."""
    measurements = runner.recorders[SIDE].measurements.values()
    more = runner.planner.seconds_needed()
    seconds = info.seconds or 0.0
    needed = None if more is None else seconds + more
    notes = wider_than_asked(len(runner.planner.missed()), len(runner.groups), runner.settings)
    if unreached := [measurement for measurement in measurements if measurement.reason == NOT_REACHED]:
        were = "was" if len(unreached) == 1 else "were"
        notes += [Note(f"{len(unreached):,} of {plural(len(measurements), 'case')} {were} not reached", "budget")]
        # As if the rest took as long as what was reached; a case that is observed and not timed counts half. If nothing
        # was reached, at least the turns must be added.
        reached = len(measurements) - len(unreached) + sum(measurement.works for measurement in unreached) / 2
        before = info.stage_seconds.get("ceilings", 0.0)
        settings = runner.settings
        turns = len(measurements) * settings.replicates * settings.windows * settings.window_seconds
        whole = before + (seconds - before) * len(measurements) / reached if reached else seconds + turns
        needed = max(needed or 0.0, whole)
    elif needed is None:
        remedy = f"raise max_replicates, which is {runner.settings.max_replicates:,}"
        notes = [replace(note, words=f"{note.words}; {remedy}") for note in notes]
    elif not notes:
        notes = [Note("it ended the run before its last replicate", "budget")]
    notes += seldom_quiet(len(runner.planner.disturbed()), len(runner.groups))
    return replace(info, notes=[*info.notes, *notes], seconds_needed=needed)


def seldom_quiet(disturbed: int, groups: int) -> list[Note]:
    """Return a note about the groups without enough quiet moments for undisturbed ratios, if there are any."""
    if not disturbed:
        return []
    words = f"{disturbed:,} of {plural(groups, 'group')} had too few quiet moments for undisturbed ratios"
    return [Note(words, "shared core")]


def wider_than_asked(missed: int, groups: int, settings: Settings) -> list[Note]:
    """Return a note about the groups that missed the requested precision, if there are any."""
    if not missed or settings.precision is None:
        return []
    words = f"±{100 * settings.precision:.3g}% was not reached in {missed:,} of {plural(groups, 'group')}"
    return [Note(words, "precision")]
