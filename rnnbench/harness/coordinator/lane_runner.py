"""Replicates of one lane: a fresh worker visits groups in shuffled order; cases take turns; windows are recorded."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from rnnbench.analysis.replicate import log_seconds
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.asking import hello
from rnnbench.harness.coordinator.ceilings import Ceilings, place_of
from rnnbench.harness.coordinator.lanes import Lane, Stopped, on_card
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder, VisitCut
from rnnbench.harness.coordinator.resume import Visit
from rnnbench.harness.coordinator.telemetry import Telemetry
from rnnbench.harness.coordinator.visit import CaseLost, Visitor, VisitSide
from rnnbench.harness.turns.planner import Planner
from rnnbench.harness.turns.repeats import Repeats
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group, Window
from rnnbench.suite_file import Settings


@dataclass
class Shared:
    """What the lanes of a run share; `lock` guards what one of them writes and another reads."""

    folder: RunFolder
    recorder: Recorder
    settings: Settings
    names: Iterator[str]  # of the workers to come
    now: Callable[[], float]
    started: float
    repeats: Repeats
    on_visit: Callable[[], None]  # called before every visit
    ceilings: Ceilings
    notes: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between its parts."""
        return self.now() - self.started

    @property
    def left(self) -> float | None:
        """Seconds left of the budget, if there is one."""
        budget = self.settings.budget_seconds
        return None if budget is None else budget - self.seconds


class LaneRunner:
    """Measures the groups of a lane, in as many replicates as the precision needs and the budget allows."""

    def __init__(
        self, lane: Lane, shared: Shared, start_worker: Callable[..., WorkerProcess], rng: random.Random
    ) -> None:
        self.lane = lane
        self._shared = shared
        self._start_worker = on_card(lane, start_worker)
        self._rng = rng
        self.planner = Planner(lane.groups, shared.settings)
        self.telemetry = Telemetry(lane.device, lane.card.uuid)
        self.replicates = 0
        self._visitor = Visitor(shared.settings, rng, lambda: shared.seconds)
        self._worker: WorkerProcess | None = None
        self._started = 0.0  # when the worker was started
        self._began = 0.0  # when the replicate's first worker was started
        self._workers: list[str] = []  # of the replicate
        self.visits: list[Group] = []  # of the replicate
        self.done = 0  # number of these that are finished

    def remember(self, visits: Sequence[Visit], replicates: int) -> None:
        """Go on after an earlier part of the run."""
        self.replicates = replicates
        for visit in visits:
            self.planner.add_visit(visit.group, visit.seconds, log_seconds(visit.windows))
            self._visitor.remember(visit.windows)

    def choose(self) -> bool:
        """Choose the groups of the next replicate; returns whether there are any."""
        chosen = self.planner.next_visits(self._shared.left)
        # Shuffled, but with all sweeps in turn: the budget may end within the replicate.
        self.done, self.visits = 0, sweeps_in_turn(self._rng.sample(chosen, len(chosen)))
        return bool(self.visits)

    def start(self) -> None:
        """Start the worker of the replicate that was chosen."""
        self._workers = []
        self._start()
        self._began = self._started

    def wait_ready(self) -> None:
        """Wait for the worker; raises UserError if none can start."""
        assert self._worker is not None
        try:
            hello(self._worker)
        except UserError:
            if self._shared.stopped.is_set():
                raise Stopped from None
            raise
        with self._shared.lock:
            self.planner.add_start(self._shared.now() - self._started)

    def replicate(self) -> None:
        """Visit the groups; the replicate is taken back if the device was held back meanwhile."""
        self._sample("before")
        for group in self.visits:
            with self._shared.lock:
                self._shared.on_visit()
            if self._shared.left is not None and self._shared.left < 0:
                break
            started = self._shared.now()
            while (windows := self._visit(group)) is None:
                self.close()
                self._start()
                self.wait_ready()
            with self._shared.lock:
                self.planner.add_visit(group, self._shared.now() - started, log_seconds(windows))
                self.done += 1
        self._sample("after")
        self._measure_ceilings_again()
        self.close()
        with self._shared.lock:
            self.replicates += not self._take_back()

    def _measure_ceilings_again(self) -> None:
        """Measure the ceilings of the visited groups in the worker that timed them; a lost worker changes nothing."""
        worker = self._worker
        assert worker is not None
        for place in dict.fromkeys(place_of(group.workload) for group in self.visits[: self.done]):
            worker.pin(self.lane.cores(place[2]))
            with suppress(WorkerLost):
                self._shared.ceilings.measure_again(partial(self._shared.recorder.ask, worker), place)

    def seconds_left(self, *, running: bool) -> float | None:
        """Expected seconds until this lane is done; None if that is not known yet."""
        return self.planner.seconds_left(self.visits[self.done :] if running else [], self._shared.left)

    def kill(self) -> None:
        """End the worker from another thread."""
        worker = self._worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _start(self) -> None:
        self._started = self._shared.now()
        self._workers.append(next(self._shared.names))
        self._worker = self._start_worker(self._workers[-1])
        if self._shared.stopped.is_set():
            raise Stopped
        if self.lane.own_cores and len(self._workers) > 1:  # others are being timed while it starts
            self._worker.pin(self.lane.own_cores)

    def _sample(self, when: Literal["before", "after"]) -> None:
        line = self.telemetry.sample(self.replicates, when, self._shared.seconds)
        if line is not None:
            self._shared.folder.add_sample(line)

    def _take_back(self) -> bool:
        """Discard the replicate if the device was held back and it may be repeated; returns whether it was."""
        if not self.telemetry.spoilt_by:
            return False
        left, took = self._shared.left, self._shared.now() - self._began
        why = f"{self.lane.name}: {', '.join(self.telemetry.spoilt_by)}"
        if not self._shared.repeats.grant(why, in_time=left is None or left > took):
            return False
        for worker in self._workers:
            self._shared.folder.set_aside(worker)
        for group in self.visits[: self.done]:
            self.planner.forget_visit(group)
        return True

    def _visit(self, group: Group) -> list[Window] | None:
        """Measure a group once; returns None if a fresh worker must repeat it."""
        assert self._worker is not None
        cores = self.lane.cores(group.workload.cores)
        sides = {self.lane.name: VisitSide(self._worker, self._shared.recorder, cores, cores)}
        try:
            windows = self._shared.settings.windows
            return self._visitor.visit(group, sides, self.replicates, windows)[self.lane.name]
        except CaseLost as lost:
            if self._shared.stopped.is_set():
                raise Stopped from None
            self._shared.notes.append(self._shared.recorder.drop_lost(lost.case, lost.reason))
        except VisitCut:
            pass  # the recorder has noted why
        return None
