"""Base and head in turns: replicates of fresh pairs of workers on the same cores."""

import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any

from rnnbench.analysis.instructions import CounterName
from rnnbench.analysis.replicate import log_ratio, times_by_case
from rnnbench.check.counting import Counted, CountingQueue, count_instructions
from rnnbench.check.own_code import SameCode, Used, changed_files, refuse_foreign, same_code
from rnnbench.check.pairs import WorkerPairs
from rnnbench.harness.coordinator.observation import Queue, observe, workers_for
from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.visit import Visitor
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import release
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Case, Group, Measurement, Workload
from rnnbench.suite.file import Settings
from rnnbench.suite.suites import cases_of

GUESSED_UNTIMED_SECONDS = 0.1  # of a case in a pair, before the first visit
PAIRS_WANTED = 20  # in a budget: pairs tell more than longer turns in fewer of them
# Of a case's turns on one side in a pair. Shorter ones are not worth the start of a pair and the preparation of its
# cases, and in longer ones pairs differ more than turns do.
MIN_CASE_SECONDS, MAX_CASE_SECONDS = 0.03, 0.3


@dataclass(frozen=True)
class VisitCost:
    """Seconds that each case of a group took in its last visit."""

    untimed: float  # to prepare and to verify it on both sides
    timed: float  # for its turns on both sides


@dataclass
class Ratios:
    """Logarithms of the head's time over the base's, one from each replicate."""

    low: list[float] = field(default_factory=list)  # shifts between the logarithms of both sides' times
    mean: list[float] = field(default_factory=list)  # of their mean


class PairedRunner:
    """Measures the same cases on both sides; the sides take turns at each case."""

    def __init__(
        self,
        pairs: WorkerPairs,
        folders: Mapping[str, RunFolder],
        cases: Sequence[Case],
        settings: Settings,
        *,
        seed: int | None = None,
    ) -> None:
        """Measure with pairs of workers; each side's records go into its folder, which lists all cases from now on."""
        self._pairs = pairs
        self._rng = random.Random(seed)
        self._recorders = {
            name: Recorder(folders[name], cases, side.root, settings, in_words=side.in_words)
            for name, side in pairs.sides.items()
        }
        self._visitor = Visitor(pairs, self._recorders, settings, self._rng, lambda: pairs.seconds)
        self._settings = settings
        self._costs: dict[Workload, VisitCost] = {}
        self.same = SameCode()
        self._used: list[int] = []  # numbers of files that were known when it was last asked whose they are
        self.log_ratios: dict[str, Ratios] = {}
        self.notes: list[str] = []

    @property
    def replicates(self) -> int:
        """Pairs that visited every group."""
        return self._pairs.replicates

    @property
    def seconds(self) -> float:
        """Seconds since the check began."""
        return self._pairs.seconds

    def observe(self, groups: Sequence[Group], on_done: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Check and observe every case on both sides, before any timing.

        Both sides are observed at the same time, unless cases need a device to themselves. A pair that was already
        started is used for it, and ended.
        """
        cases = cases_of(groups)
        shared = all(is_shared(case.workload.device) for case in cases)
        layout, ready = self._pairs.draw_layout(), self._pairs.hand_over()
        queues = [
            Queue(
                self._recorders[name],
                deque(cases),
                partial(self._pairs.start_one, "observer", side, layout),
                workers_for(cases, len(allowed_cores()) // 2) if shared else 1,
                ready=[ready[name]] if name in ready else [],
            )
            for name, side in self._pairs.sides.items()
        ]
        observe([queues] if shared else [[queue] for queue in queues], lambda: True, on_done)
        self._refuse_foreign()

    def find_same(self, cases: Sequence[Case], on_done: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Find the cases that run the same code on both sides, by the pair that was started; `same` has them."""
        base, head = (self._pairs.sides[name] for name in ("base", "head"))
        if (changed := changed_files(base, head)) is None:
            return
        reached: dict[str, dict[str, Any]] | None = None
        if changed.may_matter:
            reached = self._reach(cases, on_done)
        else:
            for name, worker in self._pairs.workers.items():
                self._recorders[name].ask(worker, release())  # which tells the files that were used
        self._refuse_foreign()
        used = [
            Used.of(self._pairs.sides[name], recorder.imported.values(), recorder.opened)
            for name, recorder in self._recorders.items()
        ]
        self.same = same_code(changed, used, reached, [case.key for case in cases])

    def _reach(self, cases: Sequence[Case], on_done: Callable[[int, int], None]) -> dict[str, dict[str, Any]]:
        """Ask both sides at the same time what each case may run; nothing is known of a side whose worker is lost."""
        reached: dict[str, dict[str, Any]] = {case.key: {} for case in cases}

        def ask(name: str) -> None:
            recorder, tree = self._recorders[name], str(self._pairs.sides[name].tree)
            for number, case in enumerate(cases):
                if name == "head":
                    on_done(number, len(cases))
                reply = recorder.ask(self._pairs.workers[name], recorder.building.reach(case, tree))
                reached[case.key][name] = reply
                if not reply["ok"] and reply["status"] == "failed":
                    return  # the state of the worker is unknown

        with futures.ThreadPoolExecutor(2) as pool:
            for asked in [pool.submit(ask, name) for name in self._pairs.sides]:
                with suppress(WorkerLost):
                    asked.result()
        answers = [reply for replies in reached.values() for reply in replies.values()]
        if len(answers) < 2 * len(cases) or not all(reply["ok"] for reply in answers):
            self._pairs.close()  # so that no case is observed by a worker that is lost or in an unknown state
        return reached

    def count(
        self, groups: Sequence[Group], counter: CounterName, on_done: Callable[[int, int], None]
    ) -> dict[str, dict[str, Counted]]:
        """Count the instructions of every case that works, both sides at the same time; by side and by case.

        The number of instructions becomes a metric of the case.
        """
        cases = [case for case in cases_of(groups) if not self.failed(case)]
        layout = self._pairs.draw_layout()
        queues = {
            name: CountingQueue(
                cases, partial(self._pairs.start_one, side=side, layout=layout), self._recorders[name].building
            )
            for name, side in self._pairs.sides.items()
        }
        counted = count_instructions(queues, counter, self._settings, on_done)
        for name, by_case in counted.items():
            for case in cases:
                self._recorders[name].add_instructions(case, by_case[case.key])
        return counted

    def replicate(
        self,
        groups: Sequence[Group],
        left: float,
        on_visit: Callable[[int], None] = lambda done: None,
        *,
        is_observed: bool = True,
    ) -> None:
        """Let a fresh pair visit every group once, in a share of the seconds that are `left` of the budget.

        `on_visit` gets the number of finished visits before each. Raises UserError if a side has used files of the
        other one since, for example by an import in a late call.
        """
        if not self._pairs.workers:
            self._pairs.start()
        case_seconds = self._case_seconds(groups, left)
        for done, group in enumerate(self._rng.sample(groups, len(groups))):
            on_visit(done)
            windows, seconds = self._visitor.visit(group, self.replicates, case_seconds, is_observed=is_observed)
            base, head = times_by_case(windows["base"]), times_by_case(windows["head"])
            for case in base:
                ratios = self.log_ratios.setdefault(case, Ratios())
                ratios.low.append(log_ratio(head[case], base[case]))
                ratios.mean.append(math.log(head[case].mean / base[case].mean))
            timed = sum(window.host_seconds for own in windows.values() for window in own)
            cases = len(group.cases)
            self._costs[group.workload] = VisitCost(max(0.0, seconds - timed) / cases, timed / cases)
        self._pairs.end_replicate()
        self._refuse_foreign()

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """Expected seconds of another replicate of these groups, judged by the last one; 0 before the first."""
        known = ((group, self._costs[group.workload]) for group in groups if group.workload in self._costs)
        visits = sum((cost.untimed + cost.timed) * len(group.cases) for group, cost in known)
        return (0.0 if self._pairs.workers else self._pairs.start_seconds) + visits

    def _case_seconds(self, groups: Sequence[Group], left: float) -> float:
        """Seconds for all turns of a case on one side in the next pair."""
        cases = sum(len(group.cases) for group in groups)
        known = [self._costs[group.workload] for group in groups if group.workload in self._costs]
        untimed = fmean(cost.untimed for cost in known) if known else GUESSED_UNTIMED_SECONDS
        pair = left / max(1, PAIRS_WANTED - self.replicates) - self._pairs.start_seconds
        return min(MAX_CASE_SECONDS, max(MIN_CASE_SECONDS, (pair / cases - untimed) / len(self._pairs.sides)))

    def measurement(self, side: str, case: Case) -> Measurement:
        """What is known about a case on one side, apart from its windows."""
        return self._recorders[side].measurements[case.key]

    def recorded_notes(self) -> list[str]:
        """Notes for the reader about lost workers, and about how the cases of each side were timed."""
        return [f"{side}: {note}" for side, recorder in self._recorders.items() for note in recorder.notes()]

    def _refuse_foreign(self) -> None:
        """Raise UserError if a side used files of the other one; asks only if it has used further files since."""
        used = [len(files) for each in self._recorders.values() for files in (each.imported, each.opened)]
        if used != self._used:
            self._used, sides = used, self._pairs.sides
            imported = {name: self.imported(name) for name in sides}
            opened = {name: recorder.opened for name, recorder in self._recorders.items()}
            refuse_foreign(sides["base"], sides["head"], imported, opened)

    def imported(self, side: str) -> Mapping[str, str]:
        """The modules that workers of a side imported, and their files."""
        return self._recorders[side].imported

    def given_up(self, case: Case) -> str:
        """Why a case that worked was left out on one side; empty if it was not."""
        return next((why for recorder in self._recorders.values() if (why := recorder.given_up.get(case.key))), "")

    def failed(self, case: Case) -> bool:
        """Whether a case can't be measured on one side or both."""
        return any(recorder.dropped(case) for recorder in self._recorders.values())
