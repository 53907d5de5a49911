"""What a budget that was too small left out, and how much time would have been enough, judged by how far it got."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.ceilings import place_of
from rnnbench.harness.coordinator.runner import OBSERVING_SHARE, Runner
from rnnbench.harness.coordinator.start import RunStart
from rnnbench.harness.turns.progress import TimeNeeded
from rnnbench.store.records import NOT_REACHED, Group, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.file import Settings
from rnnbench.text import plural, rounded_up

BUDGET, PRECISION = "budget: ", "precision: "  # how notes about what a run lacks begin
CEILINGS_SECONDS = 1.0  # of the limits of the machine, for each dtype and number of threads; often more
ROOM = 1.5  # a case takes this many times the seconds of its windows, with all that is not timed


def with_shortfall(info: RunInfo, runner: Runner) -> RunInfo:
    """Return what a finished run says, with notes about what it lacks, and the budget that would be enough."""
    known, spent = runner.measurements, info.seconds or 0.0
    if all(measurement.status in ("failed", "skipped") for measurement in known.values()):
        return info  # no time would have been enough
    unreached = sum(measurement.reason == NOT_REACHED for measurement in known.values())
    needed = runner.time_needed
    if needed is not None:
        needed = TimeNeeded(spent + needed.seconds, needed.is_least)
    notes = wider_than_asked(runner.missed, len(runner.groups), runner.settings)
    if unreached:
        needed = enough(info, known, runner.case_seconds)
        were = "was" if unreached == 1 else "were"
        notes += [f"{BUDGET}{unreached:,} of {plural(len(known), 'case')} {were} not reached"]
    elif needed is None:
        notes = [f"{note}; raise max_replicates, which is {runner.settings.max_replicates:,}" for note in notes]
    elif not notes:
        notes = [f"{BUDGET}it ended the run before its last replicate"]
    return replace(info, notes=[*info.notes, *notes], seconds_needed=None if needed is None else needed.seconds)


class TooShort(UserError):
    """A budget ends before anything can be timed; `seconds` is the least that may be enough."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the budget is too short: a single replicate takes about {rounded_up(seconds)} here")
        self.seconds = seconds


def least_seconds(groups: Sequence[Group], settings: Settings, start: RunStart) -> float:
    """Seconds in which a run that has just started its first worker may time a group once, in another worker."""
    places = len({place_of(group.workload) for group in groups if group.workload.device not in start.unusable})
    fewest = min(len(group.cases) for group in groups)
    return 2 * start.worker_seconds + places * CEILINGS_SECONDS + fewest * settings.windows * settings.window_seconds


def without_shortfall(notes: Sequence[str]) -> list[str]:
    """The notes of a run that goes on, without those about what it lacked when it ended."""
    return [note for note in notes if not note.startswith((BUDGET, PRECISION))]


def wider_than_asked(
    missed: int, groups: int, settings: Settings, needed: TimeNeeded | None = None, jobs: int = 1
) -> list[str]:
    """A note about the groups that missed the requested precision, if there are any.

    `needed`: the time for what is still wanted, in each of `jobs`.
    """
    if not missed or settings.precision is None:
        return []
    text = f"{PRECISION}±{100 * settings.precision:.3g}% was not reached in {missed:,} of {plural(groups, 'group')}"
    more = "" if needed is None else f"; {needed.more('in each job' if jobs > 1 else '')}"
    return [text + more]


def enough(
    info: RunInfo, measurements: Mapping[str, Measurement], visit_seconds: float | None = None
) -> TimeNeeded | None:
    """The budget that is enough to observe every case and to time it in the fewest replicates.

    This includes what the run has spent so far, which counts when it is resumed. `visit_seconds` is what a case takes
    in a replicate, if that has been seen. If no case was observed, how long that takes is not known, and the result is
    the least that is needed. None if nothing is known.
    """
    if info.seconds is None or not info.stage_seconds:
        return None
    settings = Settings.model_validate(info.resolved["measure"])
    cases, observed = len(measurements), sum(measurement.works for measurement in measurements.values())
    stages = dict.fromkeys(("ceilings", "observing", "energy"), 0.0) | info.stage_seconds
    start = max(0.0, info.seconds - sum(stages.values()))  # of a worker
    at_work = stages["observing"] - start  # another worker starts there
    is_least = not observed
    case_seconds = max(0.0, at_work) / observed if observed else 0.0
    observing = calibrating = case_seconds * cases
    windows = settings.windows * settings.window_seconds
    replicate = start + cases * (visit_seconds or (windows if is_least else ROOM * windows))
    timing = calibrating + settings.replicates * replicate
    before = info.seconds + start + stages["ceilings"]
    return TimeNeeded(before + max(observing / OBSERVING_SHARE, observing + timing), is_least)
