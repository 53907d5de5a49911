"""The pass before all timing: each case's parity is checked and its metrics are observed, once.

Nothing is timed meanwhile, so several workers do it at once. None of them is timed later, since probes change how a
process allocates.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.store.records import Case

CASES_PER_WORKER = 8  # fewer are not worth another worker's start
MAX_WORKERS = 8  # because each holds memory


@dataclass
class Queue:
    """Cases that one recorder wants observed, by up to `workers` workers at a time."""

    recorder: Recorder
    cases: deque[Case]
    start: Callable[[], WorkerProcess]
    workers: int
    ready: list[WorkerProcess] = field(default_factory=list)  # workers that were started before

    def askers(self) -> list[Asker]:
        """Return one for each worker; those that are not ready start with their first case."""
        ready = [*self.ready, *[None] * (self.workers - len(self.ready))]
        return [Asker(self.recorder.settings, self.start, worker) for worker in ready]


def workers_for(cases: Sequence[Case], cores: int) -> int:
    """The number of workers for a queue of these cases, each with cores for all threads of a case.

    `prepacked` times its products while it is compiled, which another worker on the same cores would spoil.
    """
    threads = max((case.workload.threads for case in cases), default=1)
    return max(1, min(cores // threads, MAX_WORKERS, -(-len(cases) // CASES_PER_WORKER)))


def observe(waves: Sequence[Sequence[Queue]], go_on: Callable[[], bool], on_done: Callable[[int, int], None]) -> None:
    """Observe every case of all queues, those of a wave at the same time.

    Several threads call `go_on` before each case, and one at a time calls `on_done` with the number of cases that are
    done, and of all cases. Passes on KeyboardInterrupt, and the error if no worker can be started. Ends all workers.
    """
    total, done = sum(len(queue.cases) for wave in waves for queue in wave), itertools.count(1)
    recording = threading.Lock()

    def work(queue: Queue, asker: Asker) -> None:
        with suppress(IndexError):  # no case is left
            while go_on():
                case = queue.cases.popleft()
                reply = asker.ask(queue.recorder.building.observe(case), allowed_cores())
                with recording:
                    queue.recorder.note_observed(case, reply)
                    on_done(next(done), total)

    with ExitStack() as stack:
        crews = [[(queue, asker) for queue in wave for asker in queue.askers()] for wave in waves]
        for asker in (asker for crew in crews for _, asker in crew):
            stack.callback(asker.close)
        on_done(0, total)
        for crew in crews:
            with futures.ThreadPoolExecutor(len(crew)) as pool:
                try:
                    for worked in futures.as_completed([pool.submit(work, *each) for each in crew]):
                        worked.result()
                except BaseException:  # Ctrl-C too
                    for _, asker in crew:
                        asker.stop()
                    raise
