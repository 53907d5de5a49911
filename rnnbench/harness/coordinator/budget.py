"""The budget that is enough for a run, judged by how far a smaller one got."""

from collections.abc import Mapping

from rnnbench.harness.coordinator.preliminaries import OBSERVING_SHARE
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings

CASE_SECONDS = 0.2  # to observe a case, if none was reached
ROOM = 1.5  # a case takes this many times the seconds of its windows, with all that is not timed


def enough(info: RunInfo, measurements: Mapping[str, Measurement]) -> float | None:
    """About how many seconds are enough to observe every case and to time it in the fewest replicates.

    This includes what the run has spent so far, which counts when it is resumed. None if nothing is known.
    """
    if info.seconds is None or not info.stage_seconds:
        return None
    settings = Settings.model_validate(info.resolved["measure"])
    cases, observed = len(measurements), sum(measurement.works for measurement in measurements.values())
    stages = dict.fromkeys(("ceilings", "observing", "energy"), 0.0) | info.stage_seconds
    start = max(0.0, info.seconds - sum(stages.values()))  # of a worker
    at_work = stages["observing"] - start  # another worker starts there
    case_seconds = at_work / observed if observed and at_work > 0 else CASE_SECONDS
    before, calibrating = stages["ceilings"] + case_seconds * cases, case_seconds * cases
    replicate = start + cases * ROOM * settings.windows * settings.window_seconds
    timing = calibrating + settings.replicates * replicate
    return info.seconds + start + max(before / OBSERVING_SHARE, before + timing)
