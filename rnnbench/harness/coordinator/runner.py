"""The coordinator: replicates, in each of which a fresh worker visits groups in shuffled order."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rnnbench.analysis.replicate import times_by_case
from rnnbench.harness.coordinator.asking import hello
from rnnbench.harness.coordinator.preliminaries import Ceilings, Preliminaries, place_of
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder, VisitCut
from rnnbench.harness.coordinator.resume import RunState
from rnnbench.harness.coordinator.start import RunStart
from rnnbench.harness.coordinator.telemetry import Telemetry
from rnnbench.harness.coordinator.visit import CaseLost, Visitor, VisitSide
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine.cores import measuring_cores
from rnnbench.harness.machine.variables import library_notes
from rnnbench.harness.turns.planner import Planner, has_ratio, outlook
from rnnbench.harness.turns.progress import Progress, TimeNeeded
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import NOT_REACHED, Group, Measurement, Window
from rnnbench.suite.file import Settings
from rnnbench.suite.suites import cases_of
from rnnbench.text import plural

SIDE = ""  # name of the only side of a visit


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
        start_worker: Callable[..., WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """Measure into `folder`, which lists every case from now on, new ones as pending.

        `root` is the folder that the files of a user's own cells are relative to; `state` and `ceilings` are those of a
        run to resume. `prefix` begins the names of workers, if other runners measure into the same folder.
        """
        state = state or RunState()
        self.groups = groups
        self.settings = settings
        self.replicates = state.replicates  # finished ones
        self._folder = folder
        self._on_progress = on_progress
        self._notice = ""  # for the next display of progress
        self._start_worker = start_worker
        self._now = now
        self._began = start.began - state.seconds
        self._rng = random.Random(seed)
        missing = {name: {"energy_joules": why} for name, reply in start.devices.items() if (why := reply["no_energy"])}
        self._recorder = Recorder(
            folder, cases_of(groups), root, settings, measurements=state.measurements, missing_on=missing
        )
        self.ceilings = Ceilings(start.kernels, ceilings)
        self.notes = library_notes()
        self.preliminaries = Preliminaries(
            groups, start, self._recorder, settings, start_worker, now, ceilings=self.ceilings
        )
        self._telemetry = [Telemetry(name, reply["uuid"]) for name, reply in start.devices.items() if reply["uuid"]]
        self._names = (f"{prefix}{number:04d}" for number in itertools.count(state.workers))
        self._visitor = Visitor(settings, self._rng, lambda: self.seconds)
        self._planner = Planner(groups, settings)
        self._planner.add_start(start.worker_seconds)
        for visit in state.visits:
            self._planner.add_visit(visit.group, visit.seconds, times_by_case(visit.windows))
            self._visitor.remember(SIDE, visit.windows)
        self._worker: WorkerProcess | None = None
        self._visits: list[Group] = []  # of the replicate
        self._done = 0  # number of these that are finished

    def run(self) -> None:
        """Measure all groups; passes KeyboardInterrupt on. Ends all workers."""
        try:
            self.preliminaries.run(self._left, lambda done, total: self._on_progress(Progress(0, done, total, None)))
            self.notes += self.preliminaries.notes
            while chosen := self._planner.next_visits(self._left):
                self._replicate(chosen)
                if self.replicates == 1:  # the first that counts
                    self._notice = outlook(self._planner, self.settings, self.seconds)
            for case in cases_of(self.groups):  # that the budget left out
                if self.measurements[case.key].status == "pending":
                    self._recorder.drop(case, "pending", NOT_REACHED)
        finally:
            self._close()
            for reason, cases in Counter(self._recorder.given_up.values()).items():
                self.notes.append(f"{plural(cases, 'case')} got fewer replicates: {reason}")
            for telemetry in self._telemetry:
                self.notes += telemetry.notes()
            self.notes += self._recorder.notes() + self.ceilings.notes()

    @property
    def missed(self) -> int:
        """Number of groups with a ratio less precise than requested."""
        return sum(has_ratio(group, self.measurements) for group in self._planner.missed())

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        """What is known about each case, by its key."""
        return self._recorder.measurements

    @property
    def time_needed(self) -> TimeNeeded | None:
        """The time for all replicates that are still wanted; None if none is."""
        return self._planner.time_needed()

    @property
    def case_seconds(self) -> float | None:
        """Expected seconds of a case in another replicate; None if none has been timed."""
        return self._planner.case_seconds()

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between its parts."""
        return self._now() - self._began

    @property
    def _left(self) -> float | None:
        """Seconds left of the budget, if there is one."""
        budget = self.settings.budget_seconds
        return None if budget is None else budget - self.seconds

    def _replicate(self, chosen: Sequence[Group]) -> None:
        """Let a fresh worker visit groups."""
        # Shuffled, but with all sweeps in turn: the budget may end within the replicate. A GPU's driver has threads of
        # its own, so what runs on the processor comes first.
        shuffled = sweeps_in_turn(self._rng.sample(chosen, len(chosen)))
        self._visits = sorted(shuffled, key=lambda group: not is_shared(group.workload.device))
        self._done = 0
        self._start()
        self._sample("before")
        for group in self._visits:
            left = self._left
            seconds_left = self._planner.seconds_left(self._visits[self._done :], left)
            notice, self._notice = self._notice, ""
            self._on_progress(Progress(self.replicates + 1, self._done, len(self._visits), seconds_left, notice=notice))
            if left is not None and left < 0:
                break
            started = self._now()
            while (windows := self._visit(group)) is None:
                self._close()
                self._start()
            halves = times_by_case(windows[::2]), times_by_case(windows[1::2])
            self._planner.add_visit(group, self._now() - started, times_by_case(windows), halves)
            self._done += 1
            self._sample("visit", group.workload.device)
        self._measure_ceilings_again()
        self._close()
        self.replicates += 1

    def _start(self) -> None:
        """Start a worker of the replicate; raises UserError if none can start."""
        started = self._now()
        self._worker = self._start_worker(next(self._names))
        hello(self._worker)
        self._planner.add_start(self._now() - started)

    def _visit(self, group: Group) -> list[Window] | None:
        """Measure a group once; returns None if a fresh worker must repeat it."""
        assert self._worker is not None
        cores = measuring_cores(group.workload.cores)
        sides = {SIDE: VisitSide(self._worker, self._recorder, cores, cores)}
        try:
            case_seconds = self.settings.windows * self.settings.window_seconds
            return self._visitor.visit(group, sides, self.replicates, case_seconds)[SIDE]
        except CaseLost as lost:
            self.notes.append(self._recorder.drop_lost(lost.case, lost.reason))
        except VisitCut:
            pass  # the recorder has noted why
        return None

    def _sample(self, when: str, device: str = "") -> None:
        """Sample a device, or all of them."""
        for telemetry in self._telemetry:
            if device in ("", telemetry.device):
                self._folder.add_sample(telemetry.sample(self.replicates, when, self.seconds))

    def _measure_ceilings_again(self) -> None:
        """Measure the ceilings of the visited groups in the worker that timed them; a lost worker changes nothing."""
        worker = self._worker
        assert worker is not None
        for place in dict.fromkeys(place_of(group.workload) for group in self._visits[: self._done]):
            worker.pin(measuring_cores(place[2]))
            with suppress(WorkerLost):
                self.ceilings.measure_again(partial(self._recorder.ask, worker), place)

    def _close(self) -> None:
        """End the worker, whatever it is doing."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
