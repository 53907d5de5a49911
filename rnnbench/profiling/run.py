"""Profile the cases that a run has measured, one after another, into the run's folder."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator.process import Asker, WorkerProcess, WorkerStart, compiler_cache
from rnnbench.harness.devices import core_choices
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.schedule import Progress
from rnnbench.profiling.breakdown import is_alike
from rnnbench.store.folder import RunFolder, last_measurements
from rnnbench.store.profiles import Profile
from rnnbench.store.records import NOT_REACHED, Case
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of, grouped, is_compared
from rnnbench.text import plural

PROFILER = "profiler"  # name of the worker
OPERATION_MODULES = ("rnnbench.profiling.in_worker",)  # of the operation `profile`
MAX_PROFILES_AGAIN = 2  # more profiles of a case whose first was taken in a bad moment of the machine
LEAST_PROFILE_SECONDS = 5.0  # for the profile of a case; in less there are too few rounds
ROUNDS_SHARE = 0.6  # of the time for a case; a worker starts and builds the case in the rest
BESIDE_SECONDS = 2.0  # of these pass before and after the rounds: torch's profiler, replays, the trace


def profile_run(
    path: Path,
    root: Path,
    settings: Settings,
    *,
    timed: Mapping[str, float],
    left: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    start_worker: Callable[..., WorkerProcess] = WorkerProcess,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Profile]:
    """Profile every case that was measured, within `left` seconds if they are given; returns the profiles by case.

    A reference is left out if no case that is compared with it was measured. A profile that fails keeps its row, with
    the reason. `timed`: seconds of a call in the run. A profile whose calls took much longer or shorter is taken again
    while there is time, since the machine was busier or less busy. Each case gets an equal part of the time that is
    left; if that is too little, fewer cases are profiled. Raises UserError if the folder can't be written, and
    Interrupted on Ctrl-C: what was profiled stays.
    """
    measurements = last_measurements(path)
    measured = {key for key, measurement in measurements.items() if measurement.status == "measured"}
    groups = grouped(measurement.case for measurement in measurements.values())
    compared = [group for group in groups if is_compared(group, lambda case: case.key not in measured)]
    cases = [case for case in cases_of(compared) if case.key in measured]
    building = Building(str(root.resolve()), settings.compiled_steps)
    until = math.inf if left is None else now() + left
    folder = RunFolder(path)
    profiles: dict[str, Profile] = {}
    asker = Asker(settings, partial(start_worker, PROFILER, WorkerStart(operations=OPERATION_MODULES)))

    def profile(case: Case, waiting: int) -> Profile:
        left = until - now()
        if left < LEAST_PROFILE_SECONDS:
            return Profile(case.key, "failed", NOT_REACHED)
        seconds = (
            None if math.isinf(left) else max(LEAST_PROFILE_SECONDS, ROUNDS_SHARE * left / waiting) - BESIDE_SECONDS
        )
        request = building.request(
            "profile", case, folder=str(path.resolve()), window_seconds=settings.window_seconds, seconds=seconds
        )
        reply = asker.ask(request, core_choices(case.workload.device, case.workload.cores)[0], left + BESIDE_SECONDS)
        if reply.get("failure") == "lost" and until <= now():
            return Profile(case.key, "failed", NOT_REACHED)
        if not reply["ok"]:
            return Profile(case.key, "failed", f"under the profiler: {reply['reason']}")
        return Profile.from_json(reply["profile"])

    try:
        with compiler_cache():
            waiting = cases
            for attempt in range(1 + MAX_PROFILES_AGAIN):
                for number, case in enumerate(waiting):
                    on_progress(Progress(0, len(cases) - len(waiting) + number, len(cases), None))
                    outcome = profile(case, len(waiting) - number)
                    if outcome.works or not attempt:
                        profiles[case.key] = folder.add_profile(outcome)
                pairs = [(case, profiles[case.key]) for case in cases if case.key in timed]
                waiting = [case for case, outcome in pairs if outcome.works and not is_alike(outcome, timed[case.key])]
    except KeyboardInterrupt:
        done = f"{len(profiles)} of {plural(len(cases), 'case')} {'is' if len(profiles) == 1 else 'are'} profiled"
        raise Interrupted(f"{done} in {path}") from None
    except OSError as fault:
        raise UserError(f"{path}: can't be written: {fault.strerror}") from None
    finally:
        asker.close()
        folder.close()
    return profiles
