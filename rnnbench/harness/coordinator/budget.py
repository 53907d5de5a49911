"""What budget would be enough for a run, judged by how far a smaller one has come."""

from collections.abc import Mapping

from rnnbench.harness.coordinator.preliminaries import OBSERVING_SHARE
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings

CASE_SECONDS = 0.2  # to observe a case, where not even one was reached
ROOM = 1.5  # times what the windows of a case take, it takes with all that is not clocked


def enough(info: RunInfo, measurements: Mapping[str, Measurement]) -> float | None:
    """About how many seconds let every case be observed, and timed in the fewest replicates; None if nothing is known.

    What the run has spent so far is in it, since that counts when the run is resumed.
    """
    if info.seconds is None or not info.stage_seconds:
        return None
    settings = Settings.model_validate(info.resolved["measure"])
    cases, observed = len(measurements), sum(one.works for one in measurements.values())
    stages = dict.fromkeys(("ceilings", "observing", "energy"), 0.0) | info.stage_seconds
    start = max(0.0, info.seconds - sum(stages.values()))  # of a worker
    at_work = stages["observing"] - start  # another worker starts there
    each = at_work / observed if observed and at_work > 0 else CASE_SECONDS
    before, calibrating = stages["ceilings"] + each * cases, each * cases
    replicate = start + cases * ROOM * settings.windows * settings.window_seconds
    timing = calibrating + settings.replicates * replicate
    return info.seconds + start + max(before / OBSERVING_SHARE, before + timing)
