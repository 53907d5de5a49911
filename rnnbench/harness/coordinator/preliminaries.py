"""What a run does before it times anything: the machine's limits, each case's parity and metrics, its energy."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from rnnbench.harness.coordinator.lanes import Lane, Stopped, on_card, together, waves
from rnnbench.harness.coordinator.observation import Queue, observe, workers_for
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.devices import Card, is_shared
from rnnbench.harness.machine.cores import allowed_cores, measuring_cores
from rnnbench.harness.turns.schedule import sweeps_in_turn
from rnnbench.store.records import Case, Group

OBSERVER = "observer"  # name of the workers that time nothing
OBSERVING_SHARE = 0.5  # of the budget, at most; the rest is for timing what was observed by then
ENERGY_SHARE = 0.2  # of what is left of it then
NO_CARD = asdict(Card())


class Asker:
    """Has a worker answer one question after another: a new one where the last was lost, or failed at a case."""

    def __init__(self, recorder: Recorder, start: Callable[[], WorkerProcess]) -> None:
        self._recorder = recorder
        self._start = start
        self._stopped = False
        self.worker: WorkerProcess | None = None

    def ask(self, request: dict[str, Any], cores: Sequence[int]) -> dict[str, Any]:
        """The reply of a worker on these cores; a lost one is a reply too."""
        try:
            if self.worker is None:
                self.worker = self._start()
                self.worker.wait_ready()
            if self._stopped:
                raise Stopped
            self.worker.pin(cores)
            reply = self._recorder.ask(self.worker, request)
        except WorkerLost as lost:
            if self._stopped:
                raise Stopped from None
            reply = {"ok": False, "status": "failed", "reason": str(lost)}
        if reply.get("status") == "failed":  # nobody knows what state it is in
            self.close()
        return reply

    def stop(self) -> None:
        """End the worker from another thread; who waits for its answer finds itself `Stopped`."""
        self._stopped, worker = True, self.worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker, if there is one."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None


class Preliminaries:
    """Fills `ceilings`, `notes` and `stage_seconds`, and the recorder with what is known of each case."""

    def __init__(
        self,
        groups: Sequence[Group],
        recorder: Recorder,
        start_worker: Callable[..., WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = groups
        self._recorder = recorder
        self._start_worker = start_worker
        self._now = now
        self._first = Asker(recorder, partial(start_worker, OBSERVER))  # sees all devices
        self._devices: dict[str, dict[str, Any]] = {}
        self.stages: list[list[Lane]] = []  # to be set before `run`
        self.ceilings: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.stage_seconds: dict[str, float] = {}

    def take(self, worker: WorkerProcess) -> None:
        """Use this worker, and end it."""
        self._first.worker = worker

    def ask_devices(self) -> dict[str, dict[str, Any]]:
        """What the worker that was taken says of each device of the groups."""
        for name in dict.fromkeys(group.workload.device for group in self._groups):
            told = self._first.ask({"op": "device", "device": name}, allowed_cores())
            if not told["ok"]:  # the driver lists it, and it does not work
                told = {"reason": told["reason"], "no_energy": told["reason"], "cards": [NO_CARD]}
            self._devices[name] = told
            if told["no_energy"]:
                self._recorder.missing_on[name] = {"energy_joules": told["no_energy"]}
        return self._devices

    def run(self, left: float | None, on_done: Callable[[int, int], None]) -> None:
        """All of it, in part of the seconds that are left of the budget; `on_done` is told of cases observed.

        Passes KeyboardInterrupt on. No worker is left.
        """
        now = self._now()
        end = math.inf if left is None else now + left
        try:
            self._stage("ceilings", self._measure_ceilings)
            until = now + OBSERVING_SHARE * (end - now)
            self._stage("observing", lambda: self._observe(until, on_done))
            now = self._now()
            until = now + ENERGY_SHARE * (end - now)
            self._stage("energy", lambda: self._measure_energy(until))
        finally:
            self.close()

    def close(self) -> None:
        """End the worker that was taken, if it is still there."""
        self._first.close()

    def _stage(self, name: str, work: Callable[[], None]) -> None:
        started = self._now()
        work()
        self.stage_seconds[name] = round(self._now() - started, 1)

    def _measure_ceilings(self) -> None:
        """What each device can do at best in each type and number of threads; pinned as its cases will be."""
        loads = [group.workload for group in self._groups]
        for device, dtype, threads in dict.fromkeys((load.device, load.dtype, load.threads) for load in loads):
            if self._devices[device]["reason"] or threads > len(allowed_cores()):
                continue  # its cases will be skipped
            request = {"op": "ceiling", "device": device, "dtype": dtype, "threads": threads}
            reply = self._first.ask(request, measuring_cores(threads))
            if reply["ok"]:
                self.ceilings.append(reply["ceiling"])
            else:
                self.notes.append(f"the limits of {device} in {dtype} were not measured: {reply['reason']}")

    def _observe(self, until: float, on_done: Callable[[int, int], None]) -> None:
        """Check and observe the cases that are new, those of a card one at a time."""
        found = waves([lane for stage in self.stages for lane in stage])
        queues = [[self._queue(lane) for lane in wave] for wave in found]
        first, self._first.worker = self._first.worker, None
        # The first worker has been at work on every card, and holds memory there: it goes on where there is but one.
        cards = {lane.card.uuid for wave in found for lane in wave}
        only = cards - {None} or cards
        reusing = [
            queue
            for queue, lane in zip(queues[0], found[0], strict=True)
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
        workers = workers_for(len(cases), len(allowed_cores())) if is_shared(lane.device) else 1
        return Queue(self._recorder, cases, partial(on_card(lane, self._start_worker), OBSERVER), workers)

    def _measure_energy(self, until: float) -> None:
        """Each case's energy where there is a counter for it, one at a time on each card."""
        for stage in self.stages:
            askers = [Asker(self._recorder, partial(on_card(lane, self._start_worker), OBSERVER)) for lane in stage]
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
            if not known.works or "energy_joules" in known.metrics or case.workload.device in self._recorder.missing_on:
                continue
            if self._now() >= until:
                reason = f"not reached within {ENERGY_SHARE:.0%} of the budget"
                self._recorder.add_metrics(case, {}, {"energy_joules": reason})
                continue
            reply = asker.ask(self._recorder.energy_request(case), lane.cores(case.workload.cores))
            fault = {} if reply["ok"] else {"energy_joules": reply["reason"]}
            self._recorder.add_metrics(case, reply.get("values", {}), reply.get("missing", fault))


def _stop_all(askers: Sequence[Asker]) -> None:
    for asker in askers:
        asker.stop()
