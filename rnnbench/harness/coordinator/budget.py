"""What a budget that was too small left out, and how much time would have been enough, judged by how far it got."""

from collections.abc import Mapping, Sequence

from rnnbench.harness.coordinator.preliminaries import OBSERVING_SHARE
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.store.records import NOT_REACHED, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings
from rnnbench.text import plural

BUDGET, PRECISION = "budget: ", "precision: "  # how notes about what a run lacks begin
ROOM = 1.5  # a case takes this many times the seconds of its windows, with all that is not timed


def shortfall(info: RunInfo, runner: Runner) -> list[str]:
    """Notes about what a finished run lacks of what was asked, and the time that would have been enough for it."""
    known = runner.measurements
    if all(measurement.status in ("failed", "skipped") for measurement in known.values()):
        return []  # no time would have been enough
    unreached = sum(measurement.reason == NOT_REACHED for measurement in known.values())
    if not unreached:
        needed = runner.time_needed
        if notes := wider_than_asked(runner.missed, len(runner.groups), runner.settings, needed):
            return notes
        return [f"{BUDGET}it ended the run; {needed.more('for all replicates')}"] if needed else []
    needed = enough(info, known, runner.case_seconds)
    text = f"{BUDGET}{unreached:,} of {plural(len(known), 'case')} {'was' if unreached == 1 else 'were'} not reached"
    if needed is not None:
        more = TimeNeeded(needed.seconds - (info.seconds or 0.0), needed.is_least)
        text += f"; {more.more('to time all')}"
    return [*wider_than_asked(runner.missed, len(runner.groups), runner.settings), text]


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
    have = "has" if missed == 1 else "have"
    target = f"±{100 * settings.precision:.3g}%"
    text = f"{PRECISION}{missed:,} of {plural(groups, 'group')} {have} a ratio that is not known within {target}"
    if needed is None:
        return [text]
    each = "in each job, " if jobs > 1 else ""
    wanted = f"{each}for the replicates that are still wanted, at most {settings.max_replicates:,} in all"
    return [f"{text}; {needed.more(wanted)}"]


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
    before, calibrating = stages["ceilings"] + case_seconds * cases, case_seconds * cases
    windows = settings.windows * settings.window_seconds
    replicate = start + cases * (visit_seconds or (windows if is_least else ROOM * windows))
    timing = calibrating + settings.replicates * replicate
    return TimeNeeded(info.seconds + start + max(before / OBSERVING_SHARE, before + timing), is_least)
