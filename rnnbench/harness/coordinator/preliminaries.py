"""What a run does before it times anything: the machine's limits, each case's parity and metrics, its energy."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.observation import Queue, observe, workers_for
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.start import OBSERVER, RunStart
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine.cores import allowed_cores, measuring_cores
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.records import Case, DType, Group, Workload
from rnnbench.suite.file import Settings
from rnnbench.suite.suites import cases_of

CEILING_PASSES = 2  # over each limit of the machine, in a run that has this many seconds; a shorter one has one pass
LONG_SECONDS = 60.0
OBSERVING_SHARE = 0.5  # of the budget that is left then, at most; the rest is for timing what was observed by then
ENERGY_SHARE = 0.2  # of the budget that is left after that


Place = tuple[str, DType, int]  # device, dtype, threads
Ask = Callable[[Request], Reply]


def place_of(workload: Workload) -> Place:
    """The ceiling that holds for the cases of a workload."""
    return workload.device, workload.dtype, workload.threads


class Ceilings:
    """The ceilings of a run, by device, dtype and number of threads."""

    def __init__(self, kernels: Path, known: Iterable[Mapping[str, Any]] = ()) -> None:
        """`kernels`: a folder for the kernels that workers build; `known`: ceilings of an earlier part of the run."""
        self._kernels = kernels
        self._known = [Ceiling.from_json(content) for content in known]
        self._measured: list[Ceiling] = []
        self._notes: dict[str, None] = {}

    def measure(self, ask: Ask, place: Place, passes: int) -> None:
        """Measure a ceiling in so many passes; a note says why, if it could not be measured."""
        reply = ask(protocol.ceiling(*place, str(self._kernels), passes=passes))
        if not reply["ok"]:
            device, dtype, _ = place
            self._notes[f"the limits of {device} in {dtype} were not measured: {reply['reason']}"] = None
            return
        if reply["no_kernels"]:
            self._notes[
                f"the limits of the processor are those of its fastest product and copy: {reply['no_kernels']}"
            ] = None
        self._add(reply["ceiling"])

    def measure_again(self, ask: Ask, place: Place) -> None:
        """Measure a known ceiling again, since the processor may run faster by now than it did at first."""
        if place not in [ceiling.place for ceiling in self._measured]:
            return
        reply = ask(protocol.ceiling(*place, str(self._kernels), again=True))
        if reply["ok"]:
            self._add(reply["ceiling"])

    def to_json(self) -> list[dict[str, Any]]:
        """The ceilings in the form that `run.json` has."""
        return [ceiling.to_json() for ceiling in best_of([*self._known, *self._measured])]

    def notes(self) -> list[str]:
        """Notes for the reader about limits that are missing or weak."""
        return list(self._notes)

    def _add(self, content: Mapping[str, Any]) -> None:
        self._measured = best_of([*self._measured, Ceiling.from_json(content)])


class Preliminaries:
    """Fills `ceilings`, its own `notes` and `stage_seconds`, and the recorder with what is known about each case."""

    def __init__(
        self,
        groups: Sequence[Group],
        start: RunStart,
        recorder: Recorder,
        settings: Settings,
        start_worker: Callable[..., WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
        *,
        ceilings: Ceilings,
    ) -> None:
        self._groups = groups
        self._start = start
        self._recorder = recorder
        self._settings = settings
        self._start_worker = start_worker
        self._now = now
        self._ceilings = ceilings
        self.notes: list[str] = []
        self.stage_seconds: dict[str, float] = {}

    def run(self, left: float | None, on_done: Callable[[int, int], None]) -> None:
        """Run all stages, in part of the seconds that are left of the budget.

        `on_done` gets the numbers of observed and of all cases. Passes KeyboardInterrupt on. Ends all workers.
        """
        now = self._now()
        end = math.inf if left is None else now + left
        try:
            passes = CEILING_PASSES if end - now >= LONG_SECONDS else 1
            self._stage("ceilings", partial(self._measure_ceilings, passes))
            now = self._now()
            until = now + OBSERVING_SHARE * (end - now)
            self._stage("observing", lambda: self._observe(until, on_done))
            now = self._now()
            until = now + ENERGY_SHARE * (end - now)
            self._stage("energy", lambda: self._measure_energy(until))
        finally:
            self._start.first.close()

    def _stage(self, name: str, work: Callable[[], None]) -> None:
        started = self._now()
        work()
        self.stage_seconds[name] = round(self._now() - started, 1)

    def _measure_ceilings(self, passes: int) -> None:
        """Measure the limits of each device for each dtype and number of threads, pinned as its cases will be."""
        for place in dict.fromkeys(place_of(group.workload) for group in self._groups):
            device, _, threads = place
            if device not in self._start.unusable and threads <= len(allowed_cores()):  # else its cases are skipped
                self._ceilings.measure(partial(self._start.first.ask, cores=measuring_cores(threads)), place, passes)

    def _observe(self, until: float, on_done: Callable[[int, int], None]) -> None:
        """Check and observe the new cases, those of one device after those of another."""
        queues = [self._queue(device) for device in self._start.devices]
        if (first := self._start.first.hand_over()) is not None:
            first.pin(allowed_cores())
            queues[0].ready.append(first)
        self.notes += observe([[queue] for queue in queues], lambda: self._now() < until, on_done)

    def _queue(self, device: str) -> Queue:
        cases = deque[Case]()
        for group in sweeps_in_turn([group for group in self._groups if group.workload.device == device]):
            new = [case for case in group.cases if self._recorder.unobserved(case)]
            cases.extend(sorted(new, key=lambda case: not case.is_reference))
        workers = workers_for(cases, len(allowed_cores())) if is_shared(device) else 1
        return Queue(self._recorder, cases, partial(self._start_worker, OBSERVER), workers)

    def _measure_energy(self, until: float) -> None:
        """Measure the energy of each case if there is a counter for it, one case after another."""
        asker = Asker(self._settings, partial(self._start_worker, OBSERVER))
        try:
            for case in cases_of(sweeps_in_turn(self._groups)):
                known = self._recorder.measurements[case.key]
                has_no_counter = self._start.devices[case.workload.device]["no_energy"]
                if not known.works or "energy_joules" in known.metrics or has_no_counter:
                    continue
                if self._now() >= until:
                    reason = f"not reached within {ENERGY_SHARE:.0%} of the budget"
                    self._recorder.add_metrics(case, {}, {"energy_joules": reason})
                    continue
                request = self._recorder.building.energy(case, self._settings.window_seconds)
                reply = asker.ask(request, measuring_cores(case.workload.cores))
                if reply["ok"]:
                    self._recorder.add_metrics(case, reply["values"], reply["missing"])
                else:
                    self._recorder.add_metrics(case, {}, {"energy_joules": reply["reason"]})
        finally:
            asker.close()
