"""Base and head in turns: replicates of fresh pairs of workers on the same cores."""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rnnbench.analysis.replicate import times_by_case
from rnnbench.errors import UserError
from rnnbench.harness.check.sides import Side
from rnnbench.harness.coordinator.hello import hello
from rnnbench.harness.coordinator.observation import Queue, observe, workers_for
from rnnbench.harness.coordinator.process import MAX_LAYOUTS, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder, VisitCut
from rnnbench.harness.coordinator.visit import CaseLost, Visitor, VisitSide
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine.cores import allowed_cores, measuring_cores
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group, Measurement, Window, Workload
from rnnbench.suite_file import Settings

WorkerPair = Mapping[str, WorkerProcess]  # side's name -> its worker


@dataclass
class Ratios:
    """Logarithms of head over base, one from each replicate."""

    low: list[float] = field(default_factory=list)  # of the low quantile of the calls
    mean: list[float] = field(default_factory=list)  # of their mean


def start_worker(name: str, side: Side, layout: int) -> WorkerProcess:
    """A worker that runs a side's code by its interpreter."""
    return WorkerProcess(name, side.python, side.paths, layout)


class PairedRunner:
    """Measures the same cases on both sides, each case in turns of one side and the other."""

    def __init__(
        self,
        sides: Sequence[Side],
        settings: Settings,
        *,
        start: Callable[[str, Side, int], WorkerProcess] = start_worker,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self._sides = {side.name: side for side in sides}
        self._settings = settings
        self._start_worker = start
        self._now = now
        self._rng = random.Random(seed)
        self._visitor = Visitor(settings, self._rng, lambda: self.seconds)
        self._recorders = {side.name: Recorder(side.root, settings, {}, side.in_words) for side in sides}
        self._started = now()
        self._pair: WorkerPair = {}
        self._pairs = 0
        self._start_seconds = 0.0
        self._visit_seconds: dict[Workload, float] = {}
        self.log_ratios: dict[str, Ratios] = {}
        self.notes: list[str] = []
        self.replicates = 0

    def start(self) -> dict[str, dict[str, Any]]:
        """Start the first pair; what each side says of itself. Raises UserError where one can't start or is too old."""
        return self._fresh_pair()

    def open(self, folders: Mapping[str, RunFolder], cases: list[Case]) -> None:
        """Write each side's records into its folder from now on."""
        for name, recorder in self._recorders.items():
            recorder.open(folders[name], cases)

    def observe(self, groups: Sequence[Group], on_done: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Check and observe every case on both sides, at once unless they need a device alone, before any timing."""
        cases = [case for group in groups for case in group.cases]
        shared = all(is_shared(group.workload.device) for group in groups)
        layout = self._rng.randrange(MAX_LAYOUTS)
        queues = [
            Queue(
                self._recorders[name],
                deque(cases),
                partial(self._start_worker, "observer", side, layout),
                workers_for(len(cases), len(allowed_cores()) // 2) if shared else 1,
                ready=[self._pair[name]] if self._pair else [],
                side=name,
            )
            for name, side in self._sides.items()
        ]
        self._pair = {}
        self.notes += observe([queues] if shared else [[queue] for queue in queues], lambda: True, on_done)

    def replicate(self, groups: Sequence[Group], on_visit: Callable[[int], None] = lambda done: None) -> None:
        """One fresh pair that visits every group once; `on_visit` is told how many are done before each."""
        if not self._pair:
            self._fresh_pair()
        for done, group in enumerate(self._rng.sample(groups, len(groups))):
            on_visit(done)
            started = self._now()
            while not self._visit(group):
                self.close()
                self._fresh_pair()
            self._visit_seconds[group.workload] = (self._now() - started) / len(group.cases)
        self.close()
        self.replicates += 1

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """How long another replicate of these groups would take, by the last one; 0 before any."""
        visits = sum(self._visit_seconds.get(group.workload, 0.0) * len(group.cases) for group in groups)
        return (0.0 if self._pair else self._start_seconds) + visits

    def measurement(self, side: str, case: Case) -> Measurement:
        """What is known of a case on one side, beside its windows."""
        return self._recorders[side].measurements[case.key]

    def recorded_notes(self) -> list[str]:
        """What a reader must know of how the cases of each side were timed."""
        return [f"{side}: {note}" for side, recorder in self._recorders.items() for note in recorder.notes()]

    def imported(self, side: str) -> Mapping[str, str]:
        """The modules that workers of a side imported to observe cases, and their files."""
        return self._recorders[side].imported

    def given_up(self, case: Case) -> str:
        """Why a case that worked was left out on one side; empty where it was not."""
        return next((why for one in self._recorders.values() if (why := one.given_up.get(case.key))), "")

    def failed(self, case: Case) -> bool:
        """Whether a case can't be measured on one side or both."""
        return any(recorder.dropped(case) for recorder in self._recorders.values())

    @property
    def seconds(self) -> float:
        """Seconds since the runner was made."""
        return self._now() - self._started

    def close(self) -> None:
        """End both workers, whatever they do."""
        for worker in self._pair.values():
            worker.close()
        self._pair = {}

    def _fresh_pair(self) -> dict[str, dict[str, Any]]:
        """Start both workers at once, on all cores, while nothing is measured."""
        started, name = self._now(), f"{self._pairs:04d}"
        self._pairs += 1
        # Both have the same hash seed and addresses, another in each pair: what these do to the time is shared.
        layout = self._rng.randrange(MAX_LAYOUTS)
        self._pair = {side.name: self._start_worker(name, side, layout) for side in self._sides.values()}
        told = {name: self._hello(self._sides[name], worker) for name, worker in self._pair.items()}
        self._start_seconds = self._now() - started
        return told

    def _hello(self, side: Side, worker: WorkerProcess) -> dict[str, Any]:
        try:
            return hello(worker, f"{side.name} ({side.about})", "choose a revision whose rnnbench uses the same")
        except UserError as error:
            raise UserError(side.in_words(str(error))) from None

    def _visit(self, group: Group) -> bool:
        """Measure a group once; False where that must be done again, by a fresh pair."""
        for worker in self._pair.values():
            worker.pin(measuring_cores(group.workload.cores))
        sides = {name: VisitSide(worker, self._recorders[name]) for name, worker in self._pair.items()}
        try:
            windows = self._visitor.visit(group, sides, self.replicates)
        except CaseLost as lost:
            self.notes.append(f"{lost.side}: {self._recorders[lost.side].drop_lost(lost.case, lost.reason)}")
            return False
        except VisitCut:
            return False  # the recorder has noted why
        self._keep(windows)
        return True

    def _keep(self, windows: Mapping[str, Sequence[Window]]) -> None:
        """Add a complete visit's log-ratios."""
        base, head = times_by_case(windows["base"]), times_by_case(windows["head"])
        for case in base:
            ratios = self.log_ratios.setdefault(case, Ratios())
            ratios.low.append(math.log(head[case].low / base[case].low))
            ratios.mean.append(math.log(head[case].mean / base[case].mean))
