"""The coordinator: replicates of fresh workers, groups in shuffled order, arms in turns, records as they come."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnbench.analysis.estimate import LOW_QUANTILE, pooled_quantiles
from rnnbench.errors import UserError
from rnnbench.measure.cores import measuring_cores
from rnnbench.measure.engine import Plan, equal_blocks
from rnnbench.measure.history import History
from rnnbench.measure.planner import Planner
from rnnbench.measure.preliminaries import OBSERVER, Preliminaries
from rnnbench.measure.process import WorkerLost, WorkerProcess
from rnnbench.measure.recorder import Place, Recorder, VisitCut
from rnnbench.measure.repeats import Repeats
from rnnbench.measure.schedule import balanced_order
from rnnbench.measure.telemetry import Telemetry
from rnnbench.measure.worker_protocol import PROTOCOL_VERSION
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group, Window
from rnnbench.suite_file import Settings

NOT_REACHED = "not reached within the budget"


@dataclass(frozen=True)
class Progress:
    """How far a run is, for whoever shows it."""

    replicate: int  # counted from 1; 0: cases are checked and observed, and nothing is timed
    visits_done: int  # groups visited in this replicate, or cases observed
    visits: int  # of how many
    seconds_left: float | None  # None before anything is known


class Runner:
    """Measures groups into a run folder, in as many replicates as precision asks for and the budget allows."""

    def __init__(
        self,
        groups: Sequence[Group],
        settings: Settings,
        *,
        root: Path,
        history: History | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        start_worker: Callable[[str], WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """`root` is the folder that the files of a user's own cells are relative to; `history`, a run to go on with."""
        self._groups = groups
        self._settings = settings
        self._on_progress = on_progress
        self._start_worker = start_worker
        self._now = now
        self._rng = random.Random(seed)
        self._planner = Planner(groups, settings)
        self._plans: dict[str, Plan] = {}  # case key -> calibrated plan
        history = history or History()
        self._recorder = Recorder(root, settings, history.measurements)
        self._started = now() - history.seconds
        self._worker: WorkerProcess | None = None
        self._workers = history.workers
        self.notes: list[str] = []
        self.preliminaries = Preliminaries(groups, self._recorder, start_worker, now)
        self._telemetry = Telemetry({})
        self._repeats = Repeats(history.repeats)
        self.replicates = history.replicates
        for visit in history.visits:
            self._planner.add_visit(visit.group, visit.seconds, _log_seconds(visit.windows))
            self._plans |= {window.case: _plan(window, cold=settings.cold_cache) for window in visit.windows}

    def start(self) -> dict[str, Any]:
        """Start the first worker; what it says of itself, and why devices of the groups can't be used.

        Raises UserError where no worker can start.
        """
        worker, hello = self._fresh_worker(OBSERVER)
        self._worker = None  # from here on the preliminaries'
        devices = self.preliminaries.ask_devices(worker)
        self._telemetry = Telemetry({name: told["uuid"] for name, told in devices.items() if told.get("uuid")})
        return {**hello, "unusable": {name: told["reason"] for name, told in devices.items() if told["reason"]}}

    def run(self, folder: RunFolder) -> None:
        """Measure into `folder`; passes KeyboardInterrupt on."""
        self._folder = folder
        self._recorder.open(folder, [case for group in self._groups for case in group.cases])
        self.preliminaries.run(self._left(), lambda done, total: self._on_progress(Progress(0, done, total, None)))
        self.notes += self.preliminaries.notes
        while visits := self._planner.next_visits(self._left(), worker_is_up=self._worker is not None):
            self._rng.shuffle(visits)
            began, first = self._now(), self._workers
            visited = self._replicate(visits)
            if not self._spoilt(visited, range(first, self._workers), self._now() - began):
                self.replicates += 1
        self._close_unreached()
        self._note_imprecise()
        self.notes += [*self._telemetry.notes(), *self._repeats.notes()]

    def close(self) -> None:
        """End the worker, whatever it does."""
        self.preliminaries.close()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _replicate(self, visits: Sequence[Group]) -> list[Group]:
        """A fresh worker visits the groups; those that it came to."""
        worker, visited = self._worker or self._fresh_worker()[0], []
        self._sample("before")
        for index, group in enumerate(visits):
            self._tell(index, visits)
            left = self._left()
            if left is not None and left < 0:
                break
            started = self._now()
            windows = None
            while windows is None:
                try:
                    windows = self._visit(worker, group)
                except VisitCut:
                    self.close()
                    worker = self._fresh_worker()[0]
            self._planner.add_visit(group, self._now() - started, _log_seconds(windows))
            visited.append(group)
        self._sample("after")
        self.close()
        return visited

    def _spoilt(self, visited: Sequence[Group], workers: Sequence[int], seconds: float) -> bool:
        """Whether a replicate that took so long does not count, since a device was held back meanwhile."""
        why, left = self._telemetry.spoilt_by(), self._left()
        if not why or not self._repeats.grant(why, in_time=left is None or left > seconds):
            return False
        for worker in workers:
            self._folder.set_aside(f"{worker:04d}")
        for group in visited:
            self._planner.forget_visit(group)
        return True

    def _sample(self, when: Literal["before", "after"]) -> None:
        for line in self._telemetry.samples(self.replicates, when, self.seconds):
            self._folder.add_sample(line)

    def _fresh_worker(self, name: str = "") -> tuple[WorkerProcess, dict[str, Any]]:
        started = self._now()
        self._worker = worker = self._start_worker(name or f"{self._workers:04d}")
        self._workers += not name
        try:
            hello = worker.wait_ready()
        except WorkerLost as lost:
            raise UserError(f"no worker can start: {lost}") from None
        if hello.get("protocol") != PROTOCOL_VERSION:
            raise UserError(f"the worker speaks protocol {hello.get('protocol')}, this rnnbench {PROTOCOL_VERSION}")
        self._planner.add_start(self._now() - started)
        return worker, hello

    def _left(self) -> float | None:
        """Seconds left of the budget, if there is one."""
        budget = self._settings.budget_seconds
        return None if budget is None else budget - self.seconds

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between its parts."""
        return self._now() - self._started

    def _visit(self, worker: WorkerProcess, group: Group) -> list[Window]:
        """Measure a group once in this worker; raises VisitCut where a case of it failed, and was dropped."""
        current = group.cases[0]
        worker.pin(measuring_cores(group.workload.threads))
        windows = []
        try:
            arms = {}
            # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
            for current in self._rng.sample(group.cases, len(group.cases)):
                if self._recorder.dropped(current) or self._recorder.unobserved(current):
                    continue
                plan = self._recorder.prepare(worker, current, self._plans.get(current.key))
                if plan is not None:
                    self._plans[current.key] = plan
                    arms[current.key] = current
            plans = equal_blocks({key: self._plans[key] for key in arms}, self._settings.window_seconds)
            turns = balanced_order(list(arms), self._settings.windows, self._rng)
            for order, key in enumerate(turns):
                current, place = arms[key], Place(self.replicates, order, len(turns))
                windows.append(self._recorder.window(worker, current, plans[key], place, self.seconds))
            self._recorder.ask(worker, {"op": "release"})
        except WorkerLost as lost:
            self._recorder.drop(current, "failed", str(lost))
            self.notes.append(f"a worker was lost at {current.key}: {lost}")
            raise VisitCut from None
        return windows

    def _close_unreached(self) -> None:
        """Say why the cases are pending that the budget left out."""
        for group in self._groups:
            for case in group.cases:
                if self._recorder.measurements[case.key].status == "pending":
                    self._recorder.drop(case, "pending", NOT_REACHED)

    def _note_imprecise(self) -> None:
        missed, precision = self._planner.missed(), self._settings.precision
        if missed and precision is not None:
            self.notes.append(f"{len(missed)} of {len(self._groups)} groups have a ratio wider than ±{precision:.1%}")

    def _tell(self, index: int, visits: Sequence[Group]) -> None:
        seconds = self._planner.seconds_left(visits[index:], self._left())
        self._on_progress(Progress(self.replicates + 1, index, len(visits), seconds))


def _plan(window: Window, *, cold: bool) -> Plan:
    """The plan by which a window was made."""
    return Plan(window.calls // window.batch, window.batch, window.seconds, cold)


def _log_seconds(windows: Sequence[Window]) -> dict[str, float]:
    """Each case's time in one visit, by the estimator of `rnnbench.analysis`."""
    cases = {case: number for number, case in enumerate(dict.fromkeys(window.case for window in windows))}
    groups = np.array([cases[window.case] for window in windows], dtype=int)
    calls = np.array([window.calls for window in windows])
    times = pooled_quantiles(groups, [window.quantiles for window in windows], calls, LOW_QUANTILE)
    return dict(zip(cases, np.log(times).tolist(), strict=True))
