"""A visit to a group: its cases are prepared in random order, take turns in windows, and are verified.

A run visits on one side, and the cases of a group take turns with each other, because their ratios to the reference
matter. A check visits on two sides, and each case takes turns with itself on the other side.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder, WindowPlace
from rnnbench.harness.devices import backend
from rnnbench.harness.protocol import release
from rnnbench.harness.turns.engine import Plan, equal_blocks, refreshed
from rnnbench.harness.turns.schedule import balanced_order
from rnnbench.harness.turns.waits import Wait
from rnnbench.store.records import Case, Group, Window
from rnnbench.suite_file import Settings


@dataclass(frozen=True)
class VisitSide:
    """One side of a visit: a worker, and the recorder of what it measures."""

    worker: WorkerProcess
    recorder: Recorder


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
            timed = Plan(batches, window.batch, window.seconds, self._settings.cold_cache)
            self._plans[window.case] = refreshed(self._plans.get(window.case, timed), window.quantiles[0])

    def visit(self, group: Group, sides: Mapping[str, VisitSide], replicate: int) -> dict[str, list[Window]]:
        """Measure a group once on all sides; returns each side's windows, in the order in which they were timed.

        A case that can't be prepared on one side is left out on all. Raises CaseLost or VisitCut if fresh
        workers must repeat the visit.
        """
        side, case = next(iter(sides)), group.cases[0]
        windows: dict[str, list[Window]] = {name: [] for name in sides}
        try:
            ready = []
            # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
            for case in self._rng.sample(group.cases, len(group.cases)):
                is_ready = True
                for side in self._rng.sample(list(sides), len(sides)):
                    is_ready &= self._prepare(sides[side], case)
                if is_ready:
                    ready.append(case)
            turns = self._turns(ready, list(sides))
            turn_counts = Counter(side for side, _, _ in turns)
            waits: defaultdict[tuple[str, Case], list[Wait]] = defaultdict(list)
            for side, case, plan in turns:
                worker, recorder = sides[side].worker, sides[side].recorder
                place = WindowPlace(replicate, len(windows[side]), turn_counts[side])
                window = recorder.window(worker, case, plan, place, self._seconds())
                self.remember([window])
                windows[side].append(window)
                waits[side, case].append(Wait(window, worker.waited_seconds))
                if len(windows[side]) < turn_counts[side]:
                    recorder.keep(window)
            for side, case in waits:
                sides[side].recorder.verify(sides[side].worker, case, waits[side, case])
            for side in sides:
                sides[side].recorder.ask(sides[side].worker, release())
        except WorkerLost as lost:
            raise CaseLost(side, case, str(lost)) from None
        for side in turn_counts:  # the last window makes a visit complete, so it is kept only now
            sides[side].recorder.keep(windows[side][-1])
        return windows

    def _prepare(self, side: VisitSide, case: Case) -> bool:
        """Prepare a case in a side's worker; returns whether it can be timed there."""
        if side.recorder.dropped(case) or side.recorder.unobserved(case):
            return False
        plan = side.recorder.prepare(side.worker, case, self._plans.get(case.key))
        if plan is None:
            return False
        self._plans.setdefault(case.key, plan)
        return True

    def _turns(self, cases: Sequence[Case], sides: Sequence[str]) -> list[tuple[str, Case, Plan]]:
        """The windows of a visit in their order: side, case and plan of each."""
        turns: list[tuple[str, Case, Plan]] = []
        for compared in [cases] if len(sides) == 1 else [[case] for case in cases]:
            plans = {case.key: self._plans[case.key] for case in compared}
            if plans:
                blocks = backend(compared[0].workload.device).blocks
                plans = equal_blocks(plans, self._settings.window_seconds, blocks)
            arms = [(side, case) for case in compared for side in sides]
            order = balanced_order(arms, self._settings.windows, self._rng)
            turns += [(side, case, plans[case.key]) for side, case in order]
        return turns
