"""A visit to a group: its cases are prepared in random order, take turns in windows, and are verified.

A run visits on one side, and the cases of a group take turns with each other, because their ratios to the reference
matter. A check visits on two sides, and each case takes turns with itself on the other side.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder, WindowPlace
from rnnbench.harness.devices import backend
from rnnbench.harness.protocol import release
from rnnbench.harness.turns.engine import Plan, equal_blocks, refreshed
from rnnbench.harness.turns.schedule import balanced_order
from rnnbench.harness.turns.waits import Wait
from rnnbench.store.records import Case, Group, Window
from rnnbench.suite_file import Settings

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
    """Visits groups; the windows of each visit make the plans of the next one more precise."""

    def __init__(self, settings: Settings, rng: random.Random, seconds: Callable[[], float]) -> None:
        """`seconds` tells how many seconds have passed since the run or check began."""
        self._settings = settings
        self._rng = rng
        self._seconds = seconds
        self._plans: dict[str, Plan] = {}  # case key -> calibrated plan, the same for all sides

    def remember(self, windows: Iterable[Window]) -> None:
        """Take over the plans with which these windows were timed, with the shortest call of any of them."""
        for window in windows:
            batches = window.calls // window.batch
            timed = Plan(batches, window.batch, window.seconds)
            self._plans[window.case] = refreshed(self._plans.get(window.case, timed), window.quantiles[0])

    def visit(
        self, group: Group, sides: Mapping[str, VisitSide], replicate: int, windows: int
    ) -> dict[str, list[Window]]:
        """Measure a group once on all sides; returns each side's windows, in the order in which they were timed.

        `windows`: of each case, an even number. A case that can't be prepared on one side is left out on all. Raises
        CaseLost or VisitCut if fresh workers must repeat the visit.
        """
        # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
        cases = self._rng.sample(group.cases, len(group.cases))
        order = self._rng.sample(list(sides), len(sides))
        prepared = _run_untimed({name: partial(self._prepare, name, sides[name], cases) for name in order}, sides)
        ready = [case for case in cases if all(case in kept for kept in prepared.values())]
        timed = self._time(ready, sides, replicate, windows)
        _run_untimed({name: partial(_end, name, sides[name], group, timed[name]) for name in order}, sides)
        for name, side in sides.items():  # the last window makes a visit complete, so it is kept only now
            for wait in timed[name][-1:]:
                side.recorder.keep(wait.window)
        return {name: [wait.window for wait in waits] for name, waits in timed.items()}

    def _prepare(self, name: str, side: VisitSide, cases: Sequence[Case]) -> list[Case]:
        """Prepare cases in a side's worker; returns those that can be timed there."""
        ready = []
        for case in cases:
            if side.recorder.dropped(case) or side.recorder.unobserved(case):
                continue
            with _lost_at(name, case):
                plan = side.recorder.prepare(side.worker, case, self._plans.get(case.key))
            if plan is not None:
                self._plans.setdefault(case.key, plan)
                ready.append(case)
        return ready

    def _time(
        self, cases: Sequence[Case], sides: Mapping[str, VisitSide], replicate: int, windows: int
    ) -> dict[str, list[Wait]]:
        """Time the windows of a visit on all sides; the last window of each side is not kept yet."""
        for side in sides.values():
            side.worker.pin(side.timed_cores)
        turns = self._turns(cases, list(sides), windows)
        turn_counts = Counter(name for name, _, _ in turns)
        waits: dict[str, list[Wait]] = {name: [] for name in sides}
        before: tuple[str, Case] | None = None
        for name, case, plan in turns:
            worker, recorder = sides[name].worker, sides[name].recorder
            place = WindowPlace(replicate, len(waits[name]), turn_counts[name])
            with _lost_at(name, case):
                is_warm = before == (name, case)
                window = recorder.window(worker, case, plan, place, self._seconds(), is_warm=is_warm)
            before = (name, case)
            self.remember([window])
            waits[name].append(Wait(window, worker.waited_seconds))
            if len(waits[name]) < turn_counts[name]:
                recorder.keep(window)
        return waits

    def _turns(self, cases: Sequence[Case], sides: Sequence[str], windows: int) -> list[tuple[str, Case, Plan]]:
        """The windows of a visit in their order: side, case and plan of each."""
        turns: list[tuple[str, Case, Plan]] = []
        for compared in [cases] if len(sides) == 1 else [[case] for case in cases]:
            plans = {case.key: self._plans[case.key] for case in compared}
            if plans:
                workload, seconds = compared[0].workload, self._settings.window_seconds
                blocks, single_calls = backend(workload.device).blocks, workload.waits_for_each_call
                plans = equal_blocks(plans, seconds, blocks, single_calls=single_calls)
            arms = [(side, case) for case in compared for side in sides]
            order = balanced_order(arms, windows, self._rng)
            turns += [(side, case, plans[case.key]) for side, case in order]
        return turns


def _end(name: str, side: VisitSide, group: Group, waits: Sequence[Wait]) -> None:
    """Compare the timed cases of a side with their references again, and release all that were prepared."""
    for case in group.cases:
        own = [wait for wait in waits if wait.window.case == case.key]
        if own:
            with _lost_at(name, case):
                side.recorder.verify(side.worker, case, own)
    with _lost_at(name, group.cases[-1]):
        side.recorder.ask(side.worker, release())


@contextmanager
def _lost_at(side: str, case: Case) -> Iterator[None]:
    """Raise CaseLost in place of WorkerLost."""
    try:
        yield
    except WorkerLost as lost:
        raise CaseLost(side, case, str(lost)) from None


def _run_untimed(jobs: Mapping[str, Callable[[], Result]], sides: Mapping[str, VisitSide]) -> dict[str, Result]:
    """Run a job for each side and return the results. The jobs run at the same time if no two sides share a core."""
    cores = [core for side in sides.values() for core in side.untimed_cores]
    for side in sides.values():
        side.worker.pin(side.untimed_cores)
    if len(jobs) == 1 or len(set(cores)) < len(cores):
        return {name: job() for name, job in jobs.items()}
    with futures.ThreadPoolExecutor(len(jobs)) as pool:
        running: dict[str, futures.Future[Result]] = {}
        try:
            running.update((name, pool.submit(job)) for name, job in jobs.items())
            futures.wait(running.values())
        except BaseException:  # Ctrl-C: do not wait for a case that hangs
            for side in sides.values():
                side.worker.kill()
            raise
    return {name: job.result() for name, job in running.items()}
