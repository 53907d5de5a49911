"""What a run does before it times anything: the machine's limits, each case's parity and metrics, its energy."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from rnnbench.measure.cores import allowed_cores, measuring_cores
from rnnbench.measure.observation import Lane, observe, workers_for
from rnnbench.measure.process import WorkerLost, WorkerProcess
from rnnbench.measure.recorder import Recorder
from rnnbench.store.records import Case, Group

OBSERVER = "observer"  # name of the workers that time nothing
OBSERVING_SHARE = 0.5  # of the budget, at most; the rest is for timing what was observed by then
ENERGY_SHARE = 0.2  # of what is left of it then


class Preliminaries:
    """Fills `ceilings`, `notes` and `stage_seconds`, and the recorder with what is known of each case."""

    def __init__(
        self,
        groups: Sequence[Group],
        recorder: Recorder,
        start_worker: Callable[[str], WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = groups
        self._recorder = recorder
        self._start_worker = start_worker
        self._now = now
        self._worker: WorkerProcess | None = None
        self._devices: dict[str, dict[str, Any]] = {}
        self.ceilings: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.stage_seconds: dict[str, float] = {}

    def ask_devices(self, worker: WorkerProcess) -> dict[str, dict[str, Any]]:
        """What a worker says of each device of the groups; the worker is then used up by `run`. Raises WorkerLost."""
        self._worker = worker
        names = dict.fromkeys(group.workload.device for group in self._groups)
        self._devices = {name: self._recorder.ask(worker, {"op": "device", "device": name}) for name in names}
        for name, told in self._devices.items():
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
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

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
            reply = self._ask(request, measuring_cores(threads))
            if reply["ok"]:
                self.ceilings.append(reply["ceiling"])
            else:
                self.notes.append(f"the limits of {device} in {dtype} were not measured: {reply['reason']}")

    def _observe(self, until: float, on_done: Callable[[int, int], None]) -> None:
        """Check and observe the cases that are new, one at a time on a device that can't be shared."""
        by_device = defaultdict[str, deque[Case]](deque)
        for group in self._groups:
            for case in sorted(group.cases, key=lambda case: not case.is_reference):
                if self._recorder.unobserved(case):
                    by_device[case.workload.device].append(case)
        cores = allowed_cores()
        lanes = [
            Lane(
                self._recorder,
                cases,
                lambda: self._start_worker(OBSERVER),
                workers_for(len(cases), len(cores)) if self._devices[device]["is_shared"] else 1,
            )
            for device, cases in by_device.items()
        ]
        if self._worker is not None and lanes:
            self._worker.pin(cores)
            lanes[0].ready.append(self._worker)
            self._worker = None
        self.notes += observe(lanes, lambda: self._now() < until, on_done)

    def _measure_energy(self, until: float) -> None:
        """Each case's energy, one at a time, where there is a counter for it."""
        for case in (case for group in self._groups for case in group.cases):
            known = self._recorder.measurements[case.key]
            if not known.works or "energy_joules" in known.metrics or case.workload.device in self._recorder.missing_on:
                continue
            if self._now() >= until:
                reason = f"not reached within {ENERGY_SHARE:.0%} of the budget"
                self._recorder.add_metrics(case, {}, {"energy_joules": reason})
                continue
            reply = self._ask(self._recorder.energy_request(case), measuring_cores(case.workload.threads))
            fault = {} if reply["ok"] else {"energy_joules": reply["reason"]}
            self._recorder.add_metrics(case, reply.get("values", {}), reply.get("missing", fault))

    def _ask(self, request: dict[str, Any], cores: Sequence[int]) -> dict[str, Any]:
        """The reply of a worker on these cores, a new one where there is none; a lost one is a reply too."""
        try:
            if self._worker is None:
                self._worker = self._start_worker(OBSERVER)
                self._worker.wait_ready()
            self._worker.pin(cores)
            return self._recorder.ask(self._worker, request)
        except WorkerLost as lost:
            self.close()
            return {"ok": False, "reason": str(lost)}
