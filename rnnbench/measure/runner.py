"""The coordinator: replicates of fresh workers, groups in shuffled order, arms in turns, records as they come."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rnnbench.errors import UserError
from rnnbench.measure.environment import allowed_cores
from rnnbench.measure.process import WorkerLost, WorkerProcess
from rnnbench.measure.schedule import balanced_order
from rnnbench.measure.worker_protocol import PROTOCOL_VERSION
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group, Measurement, Status, Window, Workload
from rnnbench.suites import Settings

FEWEST_WINDOWS = 2  # of a case whose single call outlasts a window
NOT_REACHED = "not reached within the budget"


@dataclass(frozen=True)
class Progress:
    """How far a run is, for whoever shows it."""

    replicate: int  # counted from 1
    replicates: int
    visits_done: int  # of all groups in all replicates
    visits: int
    seconds_left: float | None  # None before anything is known


@dataclass
class Known:
    """What the runner has learnt of the cases and groups so far."""

    plans: dict[str, dict[str, Any]] = field(default_factory=dict)  # case key -> calibrated plan
    measurements: dict[str, Measurement] = field(
        default_factory=dict
    )  # case key -> its last line in measurements.jsonl
    visit_seconds: dict[Workload, list[float]] = field(default_factory=dict)
    start_seconds: list[float] = field(default_factory=list)

    def dropped(self, case: Case) -> bool:
        """Whether a case was skipped or has failed, and is left out from then on."""
        return self.measurements[case.key].status in ("skipped", "failed")

    def cost(self, group: Group) -> float:
        """Expected seconds of a visit; the first one, which checks parity and calibrates, counts only if alone."""
        seen = self.visit_seconds.get(group.workload)
        if seen:
            return fmean(seen[1:] or seen)
        return fmean([fmean(seconds) for seconds in self.visit_seconds.values()]) if self.visit_seconds else 0.0


class Runner:
    """Measures groups into a run folder, for as many replicates as the settings ask for and their budget allows."""

    def __init__(
        self,
        groups: Sequence[Group],
        settings: Settings,
        *,
        root: Path,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        start_worker: Callable[[str], WorkerProcess] = WorkerProcess,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """`root` is the folder that the files of a user's own cells are relative to."""
        self._groups = groups
        self._settings = settings
        self._root = root.resolve()
        self._on_progress = on_progress
        self._start_worker = start_worker
        self._now = now
        self._rng = random.Random(seed)
        self._known = Known()
        self._started = now()
        self._worker: WorkerProcess | None = None
        self._workers = 0
        self._folder: RunFolder
        self.notes: list[str] = []
        self.finished_replicates = 0

    def start(self) -> dict[str, Any]:
        """Start the first worker; what it says of itself, and why devices of the groups can't be used.

        Raises UserError where no worker can start.
        """
        self._worker, hello = self._fresh_worker()
        devices = dict.fromkeys(group.workload.device for group in self._groups)
        reasons = {name: self._ask(self._worker, {"op": "device", "device": name})["reason"] for name in devices}
        return {**hello, "unusable": {name: reason for name, reason in reasons.items() if reason}}

    def run(self, folder: RunFolder) -> None:
        """Measure into `folder`; passes KeyboardInterrupt on."""
        self._folder = folder
        for group in self._groups:
            for case in group.cases:
                self._record(Measurement(case, "pending", "the run ended before it"))
        for replicate in range(self._settings.replicates):
            visits = self._affordable(self._shuffled())
            if not visits:
                break
            self._replicate(replicate, visits)
            self.finished_replicates += len(visits) == len(self._groups)
        self._close_unreached()

    def close(self) -> None:
        """End the worker, whatever it does."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _shuffled(self) -> list[Group]:
        order = list(self._groups)
        self._rng.shuffle(order)
        return order

    def _affordable(self, groups: Sequence[Group]) -> list[Group]:
        """The groups that fit into what is left of the budget, a worker's start included."""
        if self._settings.budget_seconds is None:
            return list(groups)
        left = self._settings.budget_seconds - self._elapsed()
        if self._worker is None:
            left -= fmean(self._known.start_seconds)
        chosen = []
        for group in groups:
            cost = self._known.cost(group)
            if cost < left:
                left -= cost
                chosen.append(group)
        return chosen

    def _replicate(self, replicate: int, visits: Sequence[Group]) -> None:
        worker = self._worker or self._fresh_worker()[0]
        for index, group in enumerate(visits):
            self._tell(replicate, visits[index:])
            if self._settings.budget_seconds is not None and self._elapsed() > self._settings.budget_seconds:
                break
            started = self._now()
            while not self._visit(worker, replicate, group):
                self.close()
                worker = self._fresh_worker()[0]
            self._known.visit_seconds.setdefault(group.workload, []).append(self._now() - started)
        self.close()

    def _fresh_worker(self) -> tuple[WorkerProcess, dict[str, Any]]:
        started = self._now()
        self._worker = worker = self._start_worker(f"{self._workers:04d}")
        self._workers += 1
        try:
            hello = worker.wait_ready()
        except WorkerLost as lost:
            raise UserError(f"no worker can start: {lost}") from None
        if hello.get("protocol") != PROTOCOL_VERSION:
            raise UserError(f"the worker speaks protocol {hello.get('protocol')}, this rnnbench {PROTOCOL_VERSION}")
        self._known.start_seconds.append(self._now() - started)
        return worker, hello

    def _ask(self, worker: WorkerProcess, request: dict[str, Any]) -> dict[str, Any]:
        return worker.request(request, self._settings.deadline_seconds)

    def _elapsed(self) -> float:
        return self._now() - self._started

    def _visit(self, worker: WorkerProcess, replicate: int, group: Group) -> bool:
        """Measure a group once in this worker; False where the worker was lost, and its case dropped."""
        current = group.cases[0]
        worker.pin(_cores(group.workload.threads))
        try:
            arms = {}
            for current in group.cases:
                if not self._known.dropped(current) and self._prepare(worker, current):
                    arms[current.key] = current
            counts = {key: self._window_count(key) for key in arms}
            for order, key in enumerate(balanced_order(counts, self._rng)):
                current = arms[key]
                if not self._known.dropped(current):
                    self._window(worker, replicate, order, current)
            self._ask(worker, {"op": "release"})
        except WorkerLost as lost:
            self._drop(current, "failed", str(lost))
            self.notes.append(f"a worker was lost at {current.key}: {lost}")
            return False
        return True

    def _prepare(self, worker: WorkerProcess, case: Case) -> bool:
        reply = self._ask(
            worker,
            {
                "op": "prepare",
                "case": case.axes(),
                "root": str(self._root),
                "window_seconds": self._settings.window_seconds,
                "describe": self._known.measurements[case.key].status == "pending",
                "plan": self._known.plans.get(case.key),
            },
        )
        if not reply["ok"]:
            self._drop(case, reply["status"], reply["reason"])
            return False
        self._known.plans.setdefault(case.key, reply["plan"])
        if "measurement" in reply:
            self._record(Measurement.from_json(reply["measurement"]))
        return True

    def _window_count(self, key: str) -> int:
        return (
            self._settings.windows
            if self._known.plans[key]["seconds"] <= 2 * self._settings.window_seconds
            else FEWEST_WINDOWS
        )

    def _window(self, worker: WorkerProcess, replicate: int, order: int, case: Case) -> None:
        started = self._elapsed()
        reply = self._ask(worker, {"op": "window", "case": case.key})
        if not reply["ok"]:
            self._drop(case, reply["status"], reply["reason"])
            return
        self._folder.add_window(
            Window(
                case=case.key,
                replicate=replicate,
                worker=worker.name,
                order=order,
                started=started,
                calls=reply["calls"],
                batch=reply["batch"],
                seconds=reply["seconds"],
                host_seconds=reply["host_seconds"],
                quantiles=tuple(reply["quantiles"]),
                cores=tuple(reply["cores"]),
                clock_mhz=reply["clock_mhz"],
            )
        )

    def _drop(self, case: Case, status: Status, reason: str) -> None:
        """Leave a case out from now on; its row stays, with the reason and what was known."""
        self._record(replace(self._known.measurements[case.key], status=status, reason=reason))

    def _record(self, measurement: Measurement) -> None:
        self._known.measurements[measurement.case.key] = measurement
        self._folder.add_measurement(measurement)

    def _close_unreached(self) -> None:
        """Give every case that the budget left out its row."""
        for group in self._groups:
            for case in group.cases:
                if self._known.measurements[case.key].status == "pending":
                    self._drop(case, "skipped", NOT_REACHED)

    def _tell(self, replicate: int, left: Sequence[Group]) -> None:
        later = self._settings.replicates - replicate - 1
        all_visits = self._settings.replicates * len(self._groups)
        seconds: float | None = None
        if self._known.visit_seconds:
            a_round = sum(self._known.cost(group) for group in self._groups) + fmean(self._known.start_seconds)
            seconds = sum(self._known.cost(group) for group in left) + later * a_round
            if self._settings.budget_seconds is not None:
                seconds = min(seconds, max(0.0, self._settings.budget_seconds - self._elapsed()))
        done = all_visits - later * len(self._groups) - len(left)
        self._on_progress(Progress(replicate + 1, self._settings.replicates, done, all_visits, seconds))


def _cores(threads: int) -> list[int]:
    """The same cores for every worker: the last ones allowed, away from those that systems prefer for interrupts."""
    return allowed_cores()[-threads:]
