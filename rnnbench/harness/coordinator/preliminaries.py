"""What a run does before it times anything: the machine's limits, each case's parity and metrics, its energy."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.ceilings import Ceilings, place_of
from rnnbench.harness.coordinator.lanes import Lane, on_card, together, waves
from rnnbench.harness.coordinator.observation import Queue, observe, workers_for
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.start import OBSERVER, RunStart
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine.cores import allowed_cores, measuring_cores
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.records import Case, Group
from rnnbench.suite_file import Settings

CEILING_PASSES = 2  # over each limit of the machine, in a run that has this many seconds; a shorter one has one pass
LONG_SECONDS = 60.0
OBSERVING_SHARE = 0.5  # of the budget, at most; the rest is for timing what was observed by then
ENERGY_SHARE = 0.2  # of the budget that is left then


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

    def run(
        self,
        left: float | None,
        on_done: Callable[[int, int], None],
        on_ceilings: Callable[[list[dict[str, Any]]], None] = lambda ceilings: None,
    ) -> None:
        """Run all stages, in part of the seconds that are left of the budget.

        `on_done` gets the numbers of observed and of all cases. `on_ceilings` gets the ceilings before they are kept;
        what it raises ends the run. Passes KeyboardInterrupt on. Ends all workers.
        """
        now = self._now()
        end = math.inf if left is None else now + left
        try:
            passes = CEILING_PASSES if end - now >= LONG_SECONDS else 1
            self._stage("ceilings", partial(self._measure_ceilings, passes, on_ceilings))
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

    def _measure_ceilings(self, passes: int, on_ceilings: Callable[[list[dict[str, Any]]], None]) -> None:
        """Measure the limits of each device for each dtype and number of threads, pinned as its cases will be."""
        for place in dict.fromkeys(place_of(group.workload) for group in self._groups):
            device, _, threads = place
            if device not in self._start.unusable and threads <= len(allowed_cores()):  # else its cases are skipped
                self._ceilings.measure(partial(self._start.first.ask, cores=measuring_cores(threads)), place, passes)
        on_ceilings(self._ceilings.measured)

    def _observe(self, until: float, on_done: Callable[[int, int], None]) -> None:
        """Check and observe the new cases, those of one card one at a time."""
        lane_waves = waves([lane for stage in self._start.stages for lane in stage])
        queues = [[self._queue(lane) for lane in wave] for wave in lane_waves]
        first = self._start.first.hand_over()
        # The first worker has used every card and holds memory there: it is used again only if there is a single card.
        cards = {lane.card.uuid for wave in lane_waves for lane in wave}
        only = cards - {None} or cards
        reusing = [
            queue
            for queue, lane in zip(queues[0], lane_waves[0], strict=True)
            if queue.cases and {lane.card.uuid} == only and not lane.card.variables
        ]
        if first is not None and reusing:
            first.pin(allowed_cores())
            reusing[0].ready.append(first)
        elif first is not None:
            first.close()
        self.notes += observe(queues, lambda: self._now() < until, on_done)

    def _queue(self, lane: Lane) -> Queue:
        cases = deque[Case]()
        for group in sweeps_in_turn(lane.groups):
            new = [case for case in group.cases if self._recorder.unobserved(case)]
            cases.extend(sorted(new, key=lambda case: not case.is_reference))
        workers = workers_for(cases, len(allowed_cores())) if is_shared(lane.device) else 1
        return Queue(self._recorder, cases, partial(on_card(lane, self._start_worker), OBSERVER), workers)

    def _measure_energy(self, until: float) -> None:
        """Measure the energy of each case if there is a counter for it, one case at a time on each card."""
        for stage in self._start.stages:
            askers = [Asker(self._settings, partial(on_card(lane, self._start_worker), OBSERVER)) for lane in stage]
            jobs = [
                partial(self._measure_energy_of, lane, asker, until) for lane, asker in zip(stage, askers, strict=True)
            ]
            try:
                together(jobs, partial(_stop_all, askers))
            finally:
                for asker in askers:
                    asker.close()

    def _measure_energy_of(self, lane: Lane, asker: Asker, until: float) -> None:
        for case in (case for group in sweeps_in_turn(lane.groups) for case in group.cases):
            known = self._recorder.measurements[case.key]
            has_no_counter = self._start.devices[case.workload.device]["no_energy"]
            if not known.works or "energy_joules" in known.metrics or has_no_counter:
                continue
            if self._now() >= until:
                reason = f"not reached within {ENERGY_SHARE:.0%} of the budget"
                self._recorder.add_metrics(case, {}, {"energy_joules": reason})
                continue
            request = self._recorder.building.energy(case, self._settings.window_seconds)
            reply = asker.ask(request, lane.cores(case.workload.cores))
            if reply["ok"]:
                self._recorder.add_metrics(case, reply["values"], reply["missing"])
            else:
                self._recorder.add_metrics(case, {}, {"energy_joules": reply["reason"]})


def _stop_all(askers: Sequence[Asker]) -> None:
    for asker in askers:
        asker.stop()
