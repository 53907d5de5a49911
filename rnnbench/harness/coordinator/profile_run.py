"""Profiles of the cases that a run has measured, one after another, into the run's folder."""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.process import WorkerProcess, compiler_cache
from rnnbench.harness.machine.cores import measuring_cores
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.store.profiles import Profile
from rnnbench.suite_file import Settings

PROFILER = "profiler"  # name of the worker that is asked
NOT_REACHED = "not reached within the budget"


def profile_run(
    path: Path,
    root: Path,
    settings: Settings,
    *,
    left: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    start_worker: Callable[..., WorkerProcess] = WorkerProcess,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Profile]:
    """Profile every case that was measured, within `left` seconds if these are given; the profiles by case.

    One that fails keeps its row, with the reason. Raises UserError where nothing was measured or the folder can't be
    written, and Interrupted on Ctrl-C: what was profiled stays.
    """
    known = last_measurements(path)
    cases = [one.case for one in known.values() if one.status == "measured"]
    if not cases:
        reasons = list(dict.fromkeys(one.reason for one in known.values() if one.reason))
        raise UserError(f"{path}: no case was measured, so there is nothing to profile: {'; '.join(reasons[:3])}")
    building = Building(str(root.resolve()), settings.compiled_steps)
    until = math.inf if left is None else now() + left
    folder = RunFolder(path)
    found: dict[str, Profile] = {}
    asker = Asker(settings, partial(start_worker, PROFILER))
    try:
        with compiler_cache():
            for done, case in enumerate(cases):
                on_progress(Progress(0, done, len(cases), None))
                if now() >= until:
                    one = Profile(case.key, "failed", NOT_REACHED)
                else:
                    request = building.profile(case, str(path.resolve()))
                    reply = asker.ask(request, measuring_cores(case.workload.cores))
                    one = (
                        Profile.from_json(reply["profile"])
                        if reply["ok"]
                        else Profile(case.key, "failed", f"under the profiler: {reply['reason']}")
                    )
                found[case.key] = folder.add_profile(one)
    except KeyboardInterrupt:
        raise Interrupted(f"{len(found)} of {len(cases)} cases are profiled in {path}") from None
    except OSError as fault:
        raise UserError(f"{path}: can't be written: {fault.strerror}") from None
    finally:
        asker.close()
        folder.close()
    return found
