"""A visit to a group: its cases are prepared in random order, take turns of a few calls, and are verified.

A run visits on one side, and the cases of a group take turns with each other, because their ratios to the reference
matter. A check visits on two sides, and each case takes turns with itself on the other side.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import CallSeconds, Recorder, VisitCut
from rnnbench.harness.devices import backend
from rnnbench.harness.turns.schedule import Turns, balanced_order, plan_turns
from rnnbench.store.records import Case, Group, Window
from rnnbench.suite.file import Settings

Result = TypeVar("Result")


@dataclass(frozen=True)
class VisitSide:
    """One side of a visit: a worker, the recorder of what it measures, and the cores that the worker runs on."""

    worker: WorkerProcess
    recorder: Recorder
    timed_cores: Sequence[int]  # for its windows
    untimed_cores: Sequence[int]  # to prepare and to verify cases


class CaseLost(Exception):
    """The worker of one side was lost while it was at a case; the reason in a clause."""

    def __init__(self, side: str, case: Case, reason: str) -> None:
        super().__init__(reason)
        self.side = side
        self.case = case
        self.reason = reason


class Visitor:
    """Visits groups; what each visit shows of the length of a call makes the turns of the next one more precise."""

    def __init__(self, settings: Settings, rng: random.Random, seconds: Callable[[], float]) -> None:
        """`seconds` tells how many seconds have passed since the run or check began."""
        self._settings = settings
        self._rng = rng
        self._seconds = seconds
        self._call_seconds: dict[tuple[str, str], CallSeconds] = {}  # by side and case key

    def remember(self, side: str, windows: Iterable[Window]) -> None:
        """Take over the shortest call of these windows."""
        for window in windows:
            place, shortest = (side, window.case), window.quantiles[0]
            known = self._call_seconds.get(place, CallSeconds(shortest, window.host_seconds / window.calls))
            least = min(known.least, shortest)
            self._call_seconds[place] = CallSeconds(least, known.wall - known.least + least)

    def visit(
        self,
        group: Group,
        sides: Mapping[str, VisitSide],
        replicate: int,
        case_seconds: float,
        *,
        is_observed: bool = True,
    ) -> dict[str, list[Window]]:
        """Measure a group once on all sides; returns two windows of each case for each side.

        `case_seconds`: for all turns of a case on one side. A case that can't be prepared on one side is left out on
        all. Cases that are not observed are not compared with their references either. Raises CaseLost or VisitCut if
        fresh workers must repeat the visit.
        """
        # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
        cases = self._rng.sample(group.cases, len(group.cases))
        order = self._rng.sample(list(sides), len(sides))
        wanted = {
            name: [case for case in cases if not (is_observed and side.recorder.unobserved(case))]
            for name, side in sides.items()
        }
        prepared = _run_together(
            {name: partial(self._prepare, name, sides[name], wanted[name]) for name in order}, sides
        )
        ready = [case for case in cases if all(case in kept for kept in prepared.values())]
        windows = self._time(ready, sides, replicate, case_seconds) if ready else {name: [] for name in sides}
        verified = ready if is_observed else []
        _run_together({name: partial(_end, name, sides[name], verified) for name in order}, sides)
        for name, side in sides.items():
            side.recorder.keep(windows[name])
            self.remember(name, windows[name])
        return windows

    def _prepare(self, name: str, side: VisitSide, cases: Sequence[Case]) -> list[Case]:
        """Prepare cases in a side's worker; returns those that can be timed there."""
        ready = []
        for case in cases:
            if side.recorder.dropped(case):
                continue
            with _lost_at(name, case):
                seconds = side.recorder.prepare(side.worker, case, self._call_seconds.get((name, case.key)))
            if seconds is not None:
                self._call_seconds.setdefault((name, case.key), seconds)
                ready.append(case)
        return ready

    def _time(
        self, cases: Sequence[Case], sides: Mapping[str, VisitSide], replicate: int, case_seconds: float
    ) -> dict[str, list[Window]]:
        """Let the workers take all turns of a visit."""
        for side in sides.values():
            side.worker.pin(side.timed_cores)
        plans, order = self._turns(cases, list(sides), case_seconds)
        expected = sum(
            plans[turn].blocks * plans[turn].calls * self._call_seconds[turn[0], cases[turn[1]].key].wall
            for turn in order
        )
        started = self._seconds()

        def take(name: str, side: VisitSide) -> list[Window]:
            own = [plans[name, number] for number in range(len(cases))]
            request = protocol.visit(cases, own, order, name, expected)
            return side.recorder.visit(side.worker, cases, request, replicate, started)

        jobs = {name: partial(take, name, side) for name, side in sides.items()}
        try:
            if len(jobs) == 1:
                return {name: job() for name, job in jobs.items()}
            return _run_at_once(jobs, sides, futures.FIRST_EXCEPTION)
        except WorkerLost as lost:
            # The one that is in a turn is the cause: the other side only waits for it.
            at = next(((name, side.worker.turn) for name, side in sides.items() if side.worker.turn is not None), None)
            name, number = at or (next(iter(sides)), 0)
            raise CaseLost(name, cases[number or 0], str(lost)) from None

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


def _end(name: str, side: VisitSide, cases: Sequence[Case]) -> None:
    """Compare the timed cases of a side with their references again, and release all that were prepared."""
    for case in cases:
        with _lost_at(name, case):
            side.recorder.verify(side.worker, case)
    try:
        side.recorder.ask(side.worker, protocol.release())
    except WorkerLost as lost:
        if not cases:
            raise VisitCut from None
        raise CaseLost(name, cases[-1], str(lost)) from None


@contextmanager
def _lost_at(side: str, case: Case) -> Iterator[None]:
    """Raise CaseLost in place of WorkerLost."""
    try:
        yield
    except WorkerLost as lost:
        raise CaseLost(side, case, str(lost)) from None


def _run_together(jobs: Mapping[str, Callable[[], Result]], sides: Mapping[str, VisitSide]) -> dict[str, Result]:
    """Run a job for each side, without timing: at the same time if no two sides share a core."""
    cores = [core for side in sides.values() for core in side.untimed_cores]
    for side in sides.values():
        side.worker.pin(side.untimed_cores)
    if len(jobs) == 1 or len(set(cores)) < len(cores):
        return {name: job() for name, job in jobs.items()}
    return _run_at_once(jobs, sides, futures.ALL_COMPLETED)


def _run_at_once(
    jobs: Mapping[str, Callable[[], Result]], sides: Mapping[str, VisitSide], until: str
) -> dict[str, Result]:
    """Run a job for each side at the same time, and return the results; an error ends all workers that still run."""
    with futures.ThreadPoolExecutor(len(jobs)) as pool:
        running: dict[str, futures.Future[Result]] = {}
        try:
            running.update((name, pool.submit(job)) for name, job in jobs.items())
            done, _ = futures.wait(running.values(), return_when=until)
            for job in done:
                job.result()
        except BaseException:  # Ctrl-C too: do not wait for a case that hangs
            for side in sides.values():
                side.worker.kill()
            raise
    return {name: job.result() for name, job in running.items()}
