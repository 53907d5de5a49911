"""A visit to a group: its cases are prepared in random order, take turns of a few calls, and are verified.

A run visits on one side, and the cases of a group take turns with each other, because their ratios to the reference
matter. A check visits on two sides, and each case takes turns with itself on the other side.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder, VisitCut
from rnnbench.harness.devices import backend, is_shared
from rnnbench.harness.machine.cores import measuring_cores, preparing_cores
from rnnbench.harness.turns.schedule import Turns, balanced_order, plan_turns
from rnnbench.store.records import Case, Group, Window
from rnnbench.suite.file import Settings

Result = TypeVar("Result")


class ReplicateWorkers(ABC):
    """The workers of a replicate, one for each side; empty between replicates."""

    workers: Mapping[str, WorkerProcess] = MappingProxyType({})

    @abstractmethod
    def start(self) -> object:
        """Start a worker for each side."""

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self.workers.values():
            worker.close()
        self.workers = {}


@dataclass(frozen=True)
class CallSeconds:
    """The seconds of a case's call."""

    least: float  # that it took so far
    wall: float  # with the flush of the caches that comes before each call of a cold case


class CaseLost(Exception):
    """The worker of one side was lost while it was at a case; the reason in a clause."""

    def __init__(self, side: str, case: Case, reason: str) -> None:
        super().__init__(reason)
        self.side, self.case, self.reason = side, case, reason


class Visitor:
    """Visits groups; what each visit shows of the length of a call makes the turns of the next one more precise."""

    def __init__(
        self,
        workers: ReplicateWorkers,
        recorders: Mapping[str, Recorder],
        settings: Settings,
        rng: random.Random,
        seconds: Callable[[], float],
    ) -> None:
        """`recorders`: of each side; `seconds` tells how many seconds have passed since the run or check began."""
        self._workers, self._recorders = workers, recorders
        self._settings, self._rng, self._seconds = settings, rng, seconds
        self._call_seconds: dict[tuple[str, str], CallSeconds] = {}  # by side and case key

    def remember(self, side: str, windows: Iterable[Window]) -> None:
        """Take over the shortest call of these windows."""
        for window in windows:
            place, shortest = (side, window.case), window.quantiles[0]
            known = self._call_seconds.get(place, CallSeconds(shortest, window.host_seconds / window.calls))
            least = min(known.least, shortest)
            self._call_seconds[place] = CallSeconds(least, known.wall - known.least + least)

    def visit(
        self, group: Group, replicate: int, case_seconds: float, *, is_observed: bool = True
    ) -> tuple[dict[str, list[Window]], float]:
        """Measure a group once on all sides; returns two windows of each case for each side, and the visit's seconds.

        `case_seconds`: for all turns of a case on one side. A case that can't be prepared on one side is left out on
        all. Cases that are not observed are not compared with their references either. If a case fails or loses its
        worker, it is dropped, and fresh workers repeat the visit.
        """
        while True:
            began = self._seconds()
            try:
                windows = self._visit(group, replicate, case_seconds, is_observed=is_observed)
            except CaseLost as lost:
                self._recorders[lost.side].drop_lost(lost.case, lost.reason)
            except VisitCut:
                pass  # the recorder has noted why
            else:
                return windows, self._seconds() - began
            self._workers.close()
            self._workers.start()

    def _visit(
        self, group: Group, replicate: int, case_seconds: float, *, is_observed: bool
    ) -> dict[str, list[Window]]:
        workers, workload = self._workers.workers, group.workload
        timed = measuring_cores(workload.cores)
        untimed = [timed] * len(workers)
        if len(workers) > 1 and is_shared(workload.device):
            # In random order: a side's memory may be near the cores on which its cases are prepared.
            untimed = self._rng.sample(preparing_cores(workload.cores, len(workers)), len(workers))
        # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
        cases = self._rng.sample(group.cases, len(group.cases))
        order = self._rng.sample(list(workers), len(workers))

        def on_each(job: Callable[[str], Result]) -> dict[str, Result]:
            """Do a job on each side, without timing: at the same time if no two sides share a core."""
            for worker, cores in zip(workers.values(), untimed, strict=True):
                worker.pin(cores)
            cores = [core for each in untimed for core in each]
            if len(workers) == 1 or len(set(cores)) < len(cores):
                return {side: job(side) for side in order}
            return self._at_once(job, order, futures.ALL_COMPLETED)

        prepared = on_each(partial(self._prepare, cases, is_observed=is_observed))
        ready = [case for case in cases if all(case in kept for kept in prepared.values())]
        windows: dict[str, list[Window]] = {side: [] for side in workers}
        if ready:
            for worker in workers.values():
                worker.pin(timed)
            windows = self._time(ready, replicate, case_seconds)
        on_each(partial(self._end, ready if is_observed else []))
        for side, taken in windows.items():
            self._recorders[side].keep(taken)
            self.remember(side, taken)
        return windows

    def _prepare(self, cases: Sequence[Case], side: str, *, is_observed: bool) -> list[Case]:
        """Prepare cases in a side's worker; returns those that can be timed there."""
        ready, recorder = [], self._recorders[side]
        for case in cases:
            if recorder.dropped(case) or (is_observed and recorder.unobserved(case)):
                continue
            known = self._call_seconds.get((side, case.key))
            with _lost_at(side, case):
                reply = recorder.prepare(self._workers.workers[side], case, known.least if known else None)
            if reply is not None:
                seconds = CallSeconds(reply["call_seconds"], reply["wall_seconds"])
                self._call_seconds.setdefault((side, case.key), seconds)
                ready.append(case)
        return ready

    def _time(self, cases: Sequence[Case], replicate: int, case_seconds: float) -> dict[str, list[Window]]:
        """Let the workers take all turns of a visit."""
        workers = self._workers.workers
        plans, order = self._turns(cases, list(workers), case_seconds)
        expected = sum(
            plans[turn].blocks * plans[turn].calls * self._call_seconds[turn[0], cases[turn[1]].key].wall
            for turn in order
        )
        started = self._seconds()

        def take(side: str) -> list[Window]:
            own = [plans[side, number] for number in range(len(cases))]
            request = protocol.visit(cases, own, order, side, expected)
            return self._recorders[side].visit(workers[side], cases, request, replicate, started)

        try:
            if len(workers) == 1:
                return {side: take(side) for side in workers}
            return self._at_once(take, list(workers), futures.FIRST_EXCEPTION)
        except WorkerLost as lost:
            # The one that is in a turn is the cause: the other side only waits for it.
            turns = {side: number for side, worker in workers.items() if (number := worker.turn) is not None}
            side, number = next(iter(turns.items()), (next(iter(workers)), 0))
            raise CaseLost(side, cases[number], str(lost)) from None

    def _turns(
        self, cases: Sequence[Case], sides: Sequence[str], case_seconds: float
    ) -> tuple[dict[tuple[str, int], Turns], list[tuple[str, int]]]:
        """Plan the turns of each side and case's number, and the order of all turns."""
        workload = cases[0].workload
        pace, single_calls = backend(workload.device).blocks, workload.waits_for_each_call
        plans: dict[tuple[str, int], Turns] = {}
        order: list[tuple[str, int]] = []
        numbers = list(range(len(cases)))
        for together in [numbers] if len(sides) == 1 else [[number] for number in numbers]:
            compared = [(side, number) for number in together for side in sides]
            seconds = {(side, number): self._call_seconds[side, cases[number].key].wall for side, number in compared}
            plans |= plan_turns(seconds, case_seconds, pace, single_calls=single_calls)
            order += balanced_order(compared, plans[compared[0]].turns, self._rng)
        return plans, order

    def _end(self, cases: Sequence[Case], side: str) -> None:
        """Compare the timed cases of a side with their references again, and release all that were prepared."""
        recorder, worker = self._recorders[side], self._workers.workers[side]
        for case in cases:
            with _lost_at(side, case):
                recorder.verify(worker, case)
        try:
            recorder.ask(worker, protocol.release())
        except WorkerLost as lost:
            if not cases:
                raise VisitCut from None
            raise CaseLost(side, cases[-1], str(lost)) from None

    def _at_once(self, job: Callable[[str], Result], sides: Sequence[str], until: str) -> dict[str, Result]:
        """Do a job on each side at the same time; an error ends all workers that still run."""
        with futures.ThreadPoolExecutor(len(sides)) as pool:
            running: dict[str, futures.Future[Result]] = {}
            try:
                running.update((side, pool.submit(job, side)) for side in sides)
                done, _ = futures.wait(running.values(), return_when=until)
                for each in done:
                    each.result()
            except BaseException:  # Ctrl-C too: do not wait for a case that hangs
                for worker in self._workers.workers.values():
                    worker.kill()
                raise
        return {side: each.result() for side, each in running.items()}


@contextmanager
def _lost_at(side: str, case: Case) -> Iterator[None]:
    """Raise CaseLost in place of WorkerLost."""
    try:
        yield
    except WorkerLost as lost:
        raise CaseLost(side, case, str(lost)) from None
