"""Base and head in turns: replicates of fresh pairs of workers on the same cores."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnbench.errors import UserError
from rnnbench.measure.cores import measuring_cores
from rnnbench.measure.engine import Plan, equal_blocks
from rnnbench.measure.process import MOST_LAYOUTS, WorkerLost, WorkerProcess
from rnnbench.measure.recorder import Place, Recorder, VisitCut
from rnnbench.measure.schedule import balanced_order
from rnnbench.measure.sides import Side
from rnnbench.measure.worker_protocol import PROTOCOL_VERSION
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group
from rnnbench.suite_file import Settings

Pair = Mapping[str, WorkerProcess]  # side's name -> its worker


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
        self._plans: dict[str, Plan] = {}  # case key -> plan, the same for both sides
        self._recorders = {side.name: Recorder(side.root, settings, {}) for side in sides}
        self._started = now()
        self._pair: Pair = {}
        self._pairs = 0
        self.notes: list[str] = []
        self.replicates = 0

    def start(self) -> dict[str, dict[str, Any]]:
        """Start the first pair; what each side says of itself. Raises UserError where one can't start or is too old."""
        return self._fresh_pair()

    def open(self, folders: Mapping[str, RunFolder], cases: list[Case]) -> None:
        """Write each side's records into its folder from now on."""
        for name, recorder in self._recorders.items():
            recorder.open(folders[name], cases)

    def replicate(self, groups: Sequence[Group], on_visit: Callable[[int], None] = lambda done: None) -> None:
        """One fresh pair that visits every group once; `on_visit` is told how many are done before each."""
        if not self._pair:
            self._fresh_pair()
        for done, group in enumerate(self._rng.sample(groups, len(groups))):
            on_visit(done)
            while not self._visited(group):
                self.close()
                self._fresh_pair()
        self.close()
        self.replicates += 1

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
        name = f"{self._pairs:04d}"
        self._pairs += 1
        # Both have the same hash seed and addresses, another in each pair: what these do to the time is shared.
        layout = self._rng.randrange(MOST_LAYOUTS)
        self._pair = {side.name: self._start_worker(name, side, layout) for side in self._sides.values()}
        return {side: self._hello(side, worker) for side, worker in self._pair.items()}

    def _hello(self, side: str, worker: WorkerProcess) -> dict[str, Any]:
        about = self._sides[side].about
        try:
            hello = worker.wait_ready()
        except WorkerLost as lost:
            raise UserError(f"{side} ({about}): no worker can start: {lost}") from None
        spoken = hello.get("protocol")
        if spoken != PROTOCOL_VERSION:
            raise UserError(
                f"{side} ({about}): its rnnbench speaks protocol {spoken}, this one {PROTOCOL_VERSION}; "
                "compare with a revision that speaks the same"
            )
        return hello

    def _visited(self, group: Group) -> bool:
        """Measure a group once; False where a case failed, was dropped, and the pair is not to be used any longer."""
        for worker in self._pair.values():
            worker.pin(measuring_cores(group.workload.threads))
        side, case = "", group.cases[0]
        try:
            ready = []
            # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
            for case in self._rng.sample(group.cases, len(group.cases)):
                for side in self._rng.sample(list(self._sides), 2):
                    self._prepare(side, case)
                if not self.failed(case):
                    ready.append(case)
            turns = len(ready) * self._settings.windows
            for place, case in enumerate(ready):
                taken = dict.fromkeys(self._sides, place * self._settings.windows)
                for side in balanced_order(list(self._sides), self._settings.windows, self._rng):
                    self._window(side, case, Place(self.replicates, taken[side], turns))
                    taken[side] += 1
            for side, worker in self._pair.items():
                self._recorders[side].ask(worker, {"op": "release"})
        except WorkerLost as lost:
            self._recorders[side].drop(case, "failed", str(lost))
            self.notes.append(f"{side}: a worker was lost at {case.key}: {lost}")
            return False
        except VisitCut:
            return False
        return True

    def _prepare(self, side: str, case: Case) -> None:
        if self._recorders[side].dropped(case):
            return
        plan = self._recorders[side].prepare(self._pair[side], case, self._plans.get(case.key))
        if plan is not None and case.key not in self._plans:
            self._plans |= equal_blocks({case.key: plan}, self._settings.window_seconds)

    def _window(self, side: str, case: Case, place: Place) -> None:
        self._recorders[side].window(self._pair[side], case, self._plans[case.key], place, self.seconds)
