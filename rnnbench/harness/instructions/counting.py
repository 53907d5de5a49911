"""Count the instructions of many cases: start the workers, ask for each case, and put the rounds together."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.instructions import callgrind
from rnnbench.harness.instructions.callgrind import Dump
from rnnbench.harness.machine import perf_event
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.protocol import Building, CountReply, FailedReply
from rnnbench.store.instructions import CounterName, InstructionCounts
from rnnbench.store.metrics import COMPILED
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Case
from rnnbench.suite.file import Settings

Counted = InstructionCounts | str  # or the reason why there are none
# Starts a worker: `start(name, under=..., start_seconds=...)`.
StartWorker = Callable[..., WorkerProcess]


def choose_counter() -> CounterName:
    """What counts instructions on this machine; raises Unavailable if nothing does."""
    if not (by_kernel := perf_event.why_not()):
        return "perf_event"
    if by_callgrind := callgrind.why_not():
        raise Unavailable(f"{by_kernel}; {by_callgrind}")
    return "callgrind"


@dataclass(frozen=True)
class CountingQueue:
    """Cases that one worker after another counts."""

    cases: Sequence[Case]
    start: StartWorker
    building: Building


def count_instructions(
    queues: Mapping[str, CountingQueue],
    counter: CounterName,
    settings: Settings,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Counted]]:
    """Count the cases of all queues, the queues at the same time; returns the counts by queue and by the case's key.

    `on_done` gets the number of counted cases, and of all. A case that fails or loses its worker has the reason. Passes
    KeyboardInterrupt on. Ends all workers.
    """
    total, done = sum(len(queue.cases) for queue in queues.values()), count(1)
    on_done(0, total)
    with scratch("instructions") as folder:
        counters = {
            name: _QueueCounter(queue, counter, settings, folder, name, lambda: on_done(next(done), total))
            for name, queue in queues.items()
        }
        try:
            with ThreadPoolExecutor(len(counters)) as pool:
                try:
                    for future in as_completed([pool.submit(each.run) for each in counters.values()]):
                        future.result()
                finally:
                    for each in counters.values():
                        each.stop()
        finally:
            for each in counters.values():
                each.close()
    return {name: each.counted for name, each in counters.items()}


class _QueueCounter:
    """Counts the cases of one queue in a thread of its own."""

    def __init__(
        self,
        queue: CountingQueue,
        counter: CounterName,
        settings: Settings,
        folder: Path,
        name: str,
        on_case: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._counter: CounterName = counter
        self._folder = folder
        self._names = (f"{name}-{number}" for number in count())
        self._on_case = on_case
        self._asker = Asker(settings, self._start, on_ready=self._switch_on)
        self.stop, self.close = self._asker.stop, self._asker.close
        self.counted: dict[str, Counted] = {}

    def run(self) -> None:
        """Count every case; raises Stopped after `stop`."""
        for case in self._queue.cases:
            self.counted[case.key] = self._why_not(case) or self._counted(case)
            self._on_case()

    def _why_not(self, case: Case) -> str:
        if case.workload.phase in ("loading", "epoch"):
            return f"a call of the phase `{case.workload.phase}` draws from a data set and is not counted"
        if self._counter == "callgrind" and case.implementation in COMPILED:
            return "torch.compile would take minutes under callgrind"
        return ""

    def _counted(self, case: Case) -> Counted:
        request = self._queue.building.count(_with_one_thread(case), self._counter)
        try:
            return self._of(self._asker.ask(request, allowed_cores()))
        except (WorkerLost, Unavailable) as reason:
            self.close()
            return str(reason)

    def _start(self) -> WorkerProcess:
        self._name = next(self._names)
        if self._counter != "callgrind":
            return self._queue.start(self._name)
        under = callgrind.command(self._folder, self._name)
        return self._queue.start(self._name, under=under, start_seconds=callgrind.START_SECONDS)

    def _switch_on(self, worker: WorkerProcess) -> None:
        if self._counter == "callgrind":
            callgrind.switch_on(worker, self._folder)

    def _of(self, reply: CountReply | FailedReply) -> Counted:
        dumps = callgrind.take_dumps(self._folder, self._name) if self._counter == "callgrind" else []
        if not reply["ok"]:
            return reply["reason"]
        totals = [_outside(dump) for dump in dumps] or reply["totals"]
        if len(totals) != len(reply["totals"]) or not all(isinstance(total, int) and total > 0 for total in totals):
            return f"the counts can't be used: {totals}"
        if not dumps:
            return InstructionCounts(self._counter, tuple(totals))
        least = min(dumps, key=_outside)
        return InstructionCounts(
            self._counter, tuple(totals), dict(least.functions), dict(least.operators), least.allocator_calls
        )


def _outside(dump: Dump) -> int:
    """Instructions outside of the C library's allocator."""
    return sum(count for name, count in dump.functions.items() if name.part != "allocator")


def _with_one_thread(case: Case) -> Case:
    """The case in one thread: threads that wait for each other spin, for a number of instructions that is chance."""
    return replace(case, workload=replace(case.workload, threads=1))
