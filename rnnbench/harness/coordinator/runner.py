"""The coordinator: rounds of replicates, one in each lane; lanes of different cards at the same time."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.groups import cases_of
from rnnbench.harness.coordinator.ceilings import Ceilings
from rnnbench.harness.coordinator.lane_runner import LaneRunner, Shared
from rnnbench.harness.coordinator.lanes import Lane, together
from rnnbench.harness.coordinator.preliminaries import Preliminaries
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.resume import RunState
from rnnbench.harness.coordinator.start import RunStart
from rnnbench.harness.turns.needed import TimeNeeded, longest
from rnnbench.harness.turns.planner import has_ratio
from rnnbench.harness.turns.progress import Progress
from rnnbench.harness.turns.repeats import Repeats
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import NOT_REACHED, Group, Measurement
from rnnbench.suite_file import Settings
from rnnbench.text import plural


class Runner:
    """Measures groups into a run folder, in as many replicates as the precision needs and the budget allows."""

    def __init__(
        self,
        groups: Sequence[Group],
        settings: Settings,
        start: RunStart,
        folder: RunFolder,
        *,
        root: Path,
        state: RunState | None = None,
        ceilings: Iterable[Mapping[str, Any]] = (),
        prefix: str = "",
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_ceilings: Callable[[list[dict[str, Any]]], None] = lambda ceilings: None,
        start_worker: Callable[..., WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """Measure into `folder`, which lists every case from now on, new ones as pending.

        `root` is the folder that the files of a user's own cells are relative to; `state` and `ceilings` are those of a
        run to resume. `prefix` begins the names of workers, if other runners measure into the same folder.
        `on_ceilings` gets the measured ceilings before anything is timed, and may raise to end the run.
        """
        self.groups = groups
        self.settings = settings
        self._state = state or RunState()
        self._on_progress = on_progress
        self._on_ceilings = on_ceilings
        self._start_worker = start_worker
        self._rng = random.Random(seed)
        self._recorder = Recorder(
            folder,
            cases_of(groups),
            root,
            settings,
            measurements=self._state.measurements,
            missing_on=_missing_on(start),
        )
        self.ceilings = Ceilings(start.kernels, ceilings)
        self._shared = Shared(
            folder,
            self._recorder,
            settings,
            names=(f"{prefix}{number:04d}" for number in itertools.count(self._state.workers)),
            now=now,
            started=start.began - self._state.seconds,
            repeats=Repeats(self._state.repeats),
            on_visit=self._tell,
            ceilings=self.ceilings,
            notes=list(start.notes),
        )
        self.notes = self._shared.notes
        self.preliminaries = Preliminaries(
            groups, start, self._recorder, settings, start_worker, now, ceilings=self.ceilings
        )
        self._stages = [[self._runner(lane, start.worker_seconds) for lane in stage] for stage in start.stages]
        self._running: list[LaneRunner] = []

    def run(self) -> None:
        """Measure all groups; passes KeyboardInterrupt on. Ends all workers."""
        left = self._shared.left
        try:
            self.preliminaries.run(
                left, lambda done, total: self._on_progress(Progress(0, done, total, None)), self._on_ceilings
            )
            self.notes += self.preliminaries.notes
            while self._round():
                pass
            self._close_unreached()
        finally:
            for runner in self._lanes():
                runner.close()
            for reason, cases in Counter(self._recorder.given_up.values()).items():
                self.notes.append(f"{plural(cases, 'case')} got fewer replicates: {reason}")
            for runner in self._lanes():
                self.notes += runner.telemetry.notes(runner.lane.name)
            self.notes += self._shared.repeats.notes() + self._recorder.notes() + self.ceilings.notes()

    @property
    def missed(self) -> int:
        """Number of groups with a ratio less precise than requested."""
        missed = (group for runner in self._lanes() for group in runner.planner.missed())
        return sum(has_ratio(group, self.measurements) for group in missed)

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        """What is known about each case, by its key."""
        return self._recorder.measurements

    @property
    def time_needed(self) -> TimeNeeded | None:
        """The time for all replicates that are still wanted; None if none is."""
        stages = [
            longest([needed for runner in stage if (needed := runner.planner.time_needed()) is not None])
            for stage in self._stages
        ]
        known = [stage for stage in stages if stage is not None]
        if not known:
            return None
        return TimeNeeded(sum(stage.seconds for stage in known), any(stage.is_least for stage in known))

    @property
    def case_seconds(self) -> float | None:
        """Expected seconds of a case in another replicate, in the slowest lane; None if none has been timed."""
        known = [seconds for runner in self._lanes() if (seconds := runner.planner.case_seconds()) is not None]
        return max(known, default=None)

    @property
    def replicates(self) -> int:
        """Finished replicates of the lane that has the most."""
        return max((runner.replicates for runner in self._lanes()), default=self._state.replicates)

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between its parts."""
        return self._shared.seconds

    def _runner(self, lane: Lane, worker_seconds: float) -> LaneRunner:
        """A runner that knows what an earlier part of the run did in its lane, and how long a worker takes to start."""
        runner = LaneRunner(lane, self._shared, self._start_worker, random.Random(self._rng.random()))
        runner.planner.add_start(worker_seconds)
        workloads = {group.workload for group in lane.groups}
        visits = [visit for visit in self._state.visits if visit.group.workload in workloads]
        runner.remember(visits, self._state.replicates)
        return runner

    def _lanes(self) -> list[LaneRunner]:
        return [runner for stage in self._stages for runner in stage]

    def _round(self) -> bool:
        """Run one replicate in every lane that needs one; returns whether any did."""
        any_ran = False
        # In another order each time: a budget that ends within a round should not always leave out the same stage.
        for stage in self._rng.sample(self._stages, len(self._stages)):
            self._running = [runner for runner in stage if runner.choose()]
            for runner in self._running:  # they start together, on all cores, while nothing is measured
                runner.start()
            for runner in self._running:
                runner.wait_ready()
            if self._running:
                any_ran = True
                together([runner.replicate for runner in self._running], self._stop)
        return any_ran

    def _stop(self) -> None:
        """End the work of other threads; those that wait for a worker get WorkerLost."""
        self._shared.stopped.set()
        for runner in self._lanes():
            runner.kill()

    def _close_unreached(self) -> None:
        """Record why the cases that the budget left out are pending."""
        for case in cases_of(self.groups):
            if self._recorder.measurements[case.key].status == "pending":
                self._recorder.drop(case, "pending", NOT_REACHED)

    def _tell(self) -> None:
        done = sum(runner.done for runner in self._running)
        visits = sum(len(runner.visits) for runner in self._running)
        replicate = max(runner.replicates for runner in self._running) + 1
        self._on_progress(Progress(replicate, done, visits, self._seconds_left()))

    def _seconds_left(self) -> float | None:
        """Expected seconds until the end: stages come one after another, and each takes as long as its longest lane."""
        total, left = 0.0, self._shared.left
        for stage in self._stages:
            of_stage = 0.0
            for runner in stage:
                seconds = runner.seconds_left(running=runner in self._running)
                if seconds is None:
                    return None
                of_stage = max(of_stage, seconds)
            total += of_stage
        return total if left is None else min(total, max(0.0, left))


def _missing_on(start: RunStart) -> dict[str, dict[str, str]]:
    """The metrics that each device can't have, with the reason."""
    return {name: {"energy_joules": reply["no_energy"]} for name, reply in start.devices.items() if reply["no_energy"]}
