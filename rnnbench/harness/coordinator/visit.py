"""A visit to a group: its cases are prepared in random order, take turns of a few calls, and are verified.

A run visits on one side, and the cases of a group take turns with each other, because their ratios to the reference
matter. A check visits on two sides, and each case takes turns with itself on the other side.

Each case is observed once: its parity is checked before its first visit, and its metrics are counted, in a run after
the first replicate. Nothing is timed meanwhile, so several workers do it at once. None of them is timed later, since
probes change how a process allocates.
"""

import itertools
import math
import random
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from rnnbench.harness import protocol
from rnnbench.harness.coordinator.environment import clock_note
from rnnbench.harness.coordinator.process import OBSERVER, Asker, Result, WorkerProcess, in_parallel
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.devices import backend, core_choices, is_shared
from rnnbench.harness.machine.cores import allowed_cores, preparing_cores
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import MAX_CHOICES
from rnnbench.harness.turns.schedule import LEAST_BLOCKS, Turns, balanced_order, plan_turns
from rnnbench.store.implementations import COMPILED
from rnnbench.store.records import NOT_REACHED, Case, Group, Window
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import is_compared

CASES_PER_OBSERVER = 8  # fewer are not worth another worker's start
MAX_OBSERVERS = 8  # because each holds memory


@dataclass(frozen=True)
class Visited:
    """What a visit has measured, and what it took."""

    windows: dict[str, list[Window]]  # of each side
    seconds: float


class CaseFault(Exception):
    """A case failed on one side, or its worker was lost there: fresh workers must repeat the visit without it.

    Raised without a case if the worker failed between cases.
    """

    def __init__(self, side: str, case: Case | None, reply: protocol.Reply) -> None:
        super().__init__(side, case, reply)
        self.side = side
        self.case = case
        self.reply = reply


@dataclass(frozen=True)
class VisitPlan:
    """The turns of a visit, by their sides and the numbers of their cases."""

    turns: dict[tuple[str, int], Turns]
    order: list[tuple[str, int]]  # in which they are taken
    least_turns: int  # of a case, after which a visit of one side may end
    seconds: float  # expected, of all


class Visitor(ABC):
    """Observes and visits on one side or two; what a visit shows of a call's length makes the next turns more precise.

    `workers` are those of the replicate, one for each side; there are none between replicates.
    """

    def __init__(self, settings: Settings, now: Callable[[], float], seed: int | None) -> None:
        self.settings = settings
        self.replicates = 0  # finished ones
        self.workers: dict[str, WorkerProcess] = {}
        self.recorders: Mapping[str, Recorder] = MappingProxyType({})  # of each side
        self._now = now
        self._began = now()
        self._rng = random.Random(seed)
        self._pulses = Pulses()  # of this process
        self._clock_rates: list[float] = []  # of GPUs, in MHz
        self.best_pulses: dict[str, float] = {}  # seconds, of the workers of each interpreter
        # By side and case key: of the fastest call so far, and of the flush of caches before each call of a cold case.
        self._seconds: dict[tuple[str, str], tuple[float, float]] = {}
        self.most_blocks = LEAST_BLOCKS  # of a case in a visit of one side, whose calls are long

    @abstractmethod
    def start(self) -> object:
        """Start the workers of a replicate."""

    @abstractmethod
    def start_one(self, name: str, side: str) -> WorkerProcess:
        """Start a worker of a side, which is not one of the replicate."""

    def interpreter(self, side: str) -> str:
        """Return the name of the interpreter that a side's workers run. Pulses of one interpreter are compared."""
        return side

    def timed_together(self, group: Group, cases: list[Case]) -> list[Case]:
        """Return the prepared cases of a group that this visit times; the others wait for another visit."""
        return cases

    def failed(self, case: Case) -> bool:
        """Return True if a case can't be measured on at least one side."""
        return any(recorder.dropped(case) for recorder in self.recorders.values())

    def close(self) -> None:
        """End the workers of the replicate, whatever they are doing."""
        for worker in self.workers.values():
            worker.close()
        self.workers = {}

    def clock_notes(self) -> list[str]:
        """Return a note for the reader about the clock rate at which GPUs were timed, if that is known."""
        return [clock_note(self._clock_rates, self.settings.preheat_seconds)] if self._clock_rates else []

    @property
    def seconds(self) -> float:
        """Seconds since the run or the check began, without the time between the parts of a run."""
        return self._now() - self._began

    def observe_cases(
        self,
        cases: Sequence[Case],
        on_done: Callable[[int, int], None] = lambda done, total: None,
        *,
        ready: Mapping[str, WorkerProcess | None] = MappingProxyType({}),
        seconds_left: Callable[[], float] = lambda: math.inf,
        is_needed: Callable[[Case], bool] = lambda case: True,
        operation: Callable[[Case], protocol.OperationOfCase] = lambda case: "observe",
    ) -> None:
        """Check and observe every case on all sides, one device after the other.

        The sides are observed at the same time, unless their cases need a device to themselves. `ready` has workers of
        sides that were started before; all workers are ended. Several threads ask before each case how many seconds are
        `left`; a compilation that takes longer is ended, and its case is not reached. One at a time calls `on_done`
        with the number of cases that are done, and of all. A case that is not needed when its turn comes is left out.
        `operation`: what is asked of a case's worker, to observe all of it, to `check` it or to `probe` it. Passes on
        KeyboardInterrupt, and the error if no worker can be started.
        """
        total = len(cases) * len(self.recorders)
        done = itertools.count(1)
        recording = threading.Lock()

        def work(recorder: Recorder, waiting: deque[Case], asker: Asker) -> None:
            with suppress(IndexError):  # no case is left
                while (seconds := seconds_left()) > 0:
                    case = waiting.popleft()
                    if not is_needed(case):
                        continue
                    name = operation(case)
                    most = seconds if name == "observe" and case.implementation in COMPILED else math.inf
                    reply = asker.ask(recorder.building.request(name, case), allowed_cores(), most)
                    with recording:
                        if reply.get("failure") == "lost" and math.isfinite(most) and seconds_left() <= 0:
                            recorder.drop(case, "pending", NOT_REACHED)
                        else:
                            (recorder.note_probed if name == "probe" else recorder.note_observed)(case, reply)
                        on_done(next(done), total)

        with ExitStack() as stack:
            askers = dict[str, list[Asker]]()
            for side in self.recorders:
                start = partial(self.start_one, OBSERVER, side)
                first = [ready.get(side)] + [None] * (MAX_OBSERVERS - 1)
                # The others start their workers with their first requests.
                askers[side] = [stack.enter_context(closing(Asker(self.settings, start, worker))) for worker in first]
            on_done(0, total)
            for device in dict.fromkeys(case.workload.device for case in cases):
                of_device = [case for case in cases if case.workload.device == device]
                crews = []
                for side, recorder in self.recorders.items():
                    waiting = deque(of_device)
                    crew = askers[side][: observers(of_device, len(self.recorders))]
                    crews.append([(partial(work, recorder, waiting, asker), asker.stop) for asker in crew])
                for together in [list(itertools.chain(*crews))] if is_shared(device) else crews:
                    in_parallel(together)

    def visit(self, group: Group, case_seconds: float, *, is_observed: bool = True) -> Visited:
        """Measure a group once on all sides; returns two windows of each case for each side, and what it took.

        `case_seconds`: for all turns of a case on one side. A case that can't be prepared on one side is left out on
        all. Cases that are not observed are not compared with their references either. If a case fails or loses its
        worker, it is dropped, and fresh workers repeat the visit. If nothing is left to compare then, there are no
        windows and no workers.
        """
        began = self.seconds
        while True:
            try:
                windows = self._visit(group, case_seconds, is_observed=is_observed)
                return Visited(windows, self.seconds - began)
            except CaseFault as fault:
                if fault.case is not None:
                    self.recorders[fault.side].note_fault(fault.case, fault.reply)
            self.close()
            if not is_compared(group, self.failed):
                return Visited({side: [] for side in self.recorders}, self.seconds - began)
            self.start()
            began = self.seconds

    def remember(self, side: str, windows: Iterable[Window]) -> None:
        """Take over the shortest call of these windows."""
        for window in windows:
            place = (side, window.case)
            shortest = window.quantiles[0]
            call, flush = self._seconds.get(place, (shortest, window.host_seconds / window.calls - shortest))
            self._seconds[place] = min(call, shortest), flush

    def _visit(self, group: Group, case_seconds: float, *, is_observed: bool) -> dict[str, list[Window]]:
        """Return the windows of each side."""
        workers = self.workers.values()
        choices = core_choices(group.workload.device, group.workload.cores)
        untimed = [choices[0]] * len(workers)
        if len(workers) > 1 and is_shared(group.workload.device):
            # In random order: a side's memory may be near the cores on which its cases are prepared.
            untimed = self._rng.sample(preparing_cores(group.workload.cores, len(workers)), len(workers))
        apart = len(set(itertools.chain(*untimed))) == sum(map(len, untimed))
        # In another order in every visit, so that the effect of the memory's layout shows in the intervals.
        cases = self._rng.sample(group.cases, len(group.cases))
        _pin(workers, untimed)
        prepared = self.on_each(partial(self._prepare, cases, is_observed=is_observed), at_once=apart)
        ready = [case for case in cases if all(case in keys for keys in prepared.values())]
        windows: dict[str, list[Window]] = {side: [] for side in self.workers}
        if not is_compared(group, self.failed):
            ready = []
        if ready:
            timed = self._pulses.quietest(choices)
            ready = self.timed_together(group, ready)
            _pin(workers, [timed] * len(workers))
            others = [cores for cores in choices if cores != timed]
            windows = self._time(ready, case_seconds, [timed, *others][:MAX_CHOICES])
            _pin(workers, untimed)
        self.on_each(partial(self._end, ready, is_observed=is_observed), at_once=apart)
        for side, taken in windows.items():
            self.recorders[side].folder.add_window(*taken)
            self.remember(side, taken)
            self._clock_rates += [window.sm_clock_mhz for window in taken if window.sm_clock_mhz is not None]
        return windows

    def _prepare(self, cases: Sequence[Case], side: str, *, is_observed: bool) -> list[Case]:
        """Prepare cases in a side's worker; returns those that can be timed there."""
        ready = []
        recorder = self.recorders[side]
        for case in cases:
            if recorder.dropped(case) or (is_observed and recorder.unobserved(case)):
                continue
            call_seconds, _ = self._seconds.get((side, case.key), (None, None))
            request = recorder.building.request(
                "prepare", case, window_seconds=self.settings.window_seconds, call_seconds=call_seconds
            )
            reply = recorder.ask(self.workers[side], request)
            if reply["ok"]:
                recorder.note_prepared(case, reply)
                call = reply["call_seconds"]
                wall = reply["wall_seconds"]
                self._seconds.setdefault((side, case.key), (call, wall - call))
                ready.append(case)
            elif reply["status"] == "skipped":
                recorder.note_fault(case, reply)
            else:
                raise CaseFault(side, case, reply)
        return ready

    def _time(
        self, cases: Sequence[Case], case_seconds: float, choices: Sequence[Sequence[int]]
    ) -> dict[str, list[Window]]:
        """Let the workers take all turns of a visit; the worker of one side may move between sets of cores."""
        plan = self._plan(cases, case_seconds)
        started = self.seconds
        preheat = 0.0 if is_shared(cases[0].workload.device) else self.settings.preheat_seconds

        def take(side: str) -> list[Window]:
            of_side = [plan.turns[side, number] for number in range(len(cases))]
            recorder = self.recorders[side]
            worker = self.workers[side]
            interpreter = self.interpreter(side)
            best_pulse = self.best_pulses.get(interpreter)
            request = protocol.visit(
                cases,
                of_side,
                plan.order,
                side,
                preheat + plan.seconds,
                best_pulse,
                preheat,
                least_turns=plan.least_turns,
                choices=choices if len(self.workers) == 1 else (),
            )
            reply = recorder.ask(worker, request)
            if not reply["ok"]:
                # The side that is in a turn is the cause, if this one only waits for it.
                turns = {each: self.workers[each].turn for each in (side, *self.workers)}
                culprit, number = next(((each, at) for each, at in turns.items() if at is not None), (side, 0))
                raise CaseFault(culprit, cases[number], reply)
            if reply["best_pulse"] is not None:
                best = self.best_pulses.get(interpreter, reply["best_pulse"])  # the other side's, meanwhile
                self.best_pulses[interpreter] = min(best, reply["best_pulse"])
            return recorder.windows(worker.name, reply, self.replicates, started)

        return self.on_each(take)

    def _plan(self, cases: Sequence[Case], case_seconds: float) -> VisitPlan:
        """Plan the turns of a visit."""
        workload = cases[0].workload
        sides = list(self.workers)
        numbers = range(len(cases))
        pace = backend(workload.device).blocks
        single_calls = workload.waits_for_each_call
        # Of a call with the flush before it.
        seconds = {(side, number): sum(self._seconds[side, cases[number].key]) for number in numbers for side in sides}
        plans: dict[tuple[str, int], Turns] = {}
        order: list[tuple[str, int]] = []
        least_turns = 0
        for together in [numbers] if len(sides) == 1 else [[number] for number in numbers]:
            compared = {(side, number): seconds[side, number] for number in together for side in sides}
            least = plan_turns(compared, case_seconds, pace, single_calls=single_calls)
            least_turns = next(iter(least.values())).turns
            most_blocks = self.most_blocks if len(sides) == 1 else LEAST_BLOCKS
            plans |= plan_turns(compared, case_seconds, pace, single_calls=single_calls, least_blocks=most_blocks)
            order += balanced_order([*compared], plans[next(iter(compared))].turns, self._rng)
        expected = sum(plans[turn].blocks * plans[turn].calls * seconds[turn] for turn in order)
        return VisitPlan(plans, order, least_turns, expected)

    def _end(self, cases: Sequence[Case], side: str, *, is_observed: bool) -> None:
        """Compare the timed cases of a side with their references again, and release all that were prepared."""
        recorder = self.recorders[side]
        last = cases[-1] if cases else None
        verify = [(case, recorder.building.request("verify", case)) for case in cases if is_observed]
        for case, request in [*verify, (last, protocol.release())]:
            reply = recorder.ask(self.workers[side], request)
            if not reply["ok"]:
                raise CaseFault(side, case, reply)

    def on_each(self, job: Callable[[str], Result], *, at_once: bool = True) -> dict[str, Result]:
        """Do a job on each side: at the same time, or one after the other in random order.

        If one fails, the workers of the others are killed.
        """
        sides = self._rng.sample(list(self.workers), len(self.workers))
        if len(sides) == 1 or not at_once:
            return {side: job(side) for side in sides}
        results = in_parallel([(partial(job, side), self.workers[side].kill) for side in sides])
        return dict(zip(sides, results, strict=True))


def observers(cases: Sequence[Case], sides: int) -> int:
    """Return the number of workers that observe these cases on each side, each with cores for all threads of a case.

    `prepacked` times its products while it is compiled, which another worker on the same cores would spoil.
    """
    if not is_shared(cases[0].workload.device):
        return 1
    threads = max(case.workload.threads for case in cases)
    cores = len(allowed_cores()) // sides
    return max(1, min(cores // threads, MAX_OBSERVERS, -(-len(cases) // CASES_PER_OBSERVER)))


def _pin(workers: Iterable[WorkerProcess], cores: Iterable[Sequence[int]]) -> None:
    for worker, worker_cores in zip(workers, cores, strict=True):
        worker.pin(worker_cores)
