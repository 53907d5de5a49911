"""The pass before all timing: each case's parity is checked and its metrics are observed, once.

Nothing is timed meanwhile, so several workers do it at once. None of them is timed later, since probes change how a
process allocates.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, field

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
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
    side: str = ""  # of a check


def workers_for(cases: Sequence[Case], cores: int) -> int:
    """The number of workers for a queue of these cases, each with cores for all threads of a case.

    `prepacked` times its products while it is compiled, which another worker on the same cores would spoil.
    """
    threads = max((case.workload.threads for case in cases), default=1)
    return max(1, min(cores // threads, MAX_WORKERS, -(-len(cases) // CASES_PER_WORKER)))


def observe(
    waves: Sequence[Sequence[Queue]], go_on: Callable[[], bool], on_done: Callable[[int, int], None]
) -> list[str]:
    """Observe every case of all queues, those of a wave at the same time; returns notes about lost workers.

    If a thread's queue is empty and another queue of the wave has many cases left, it starts a worker for that one.
    Several threads call `go_on` before each case, and one at a time calls `on_done` with the number of cases that are
    done, and of all cases. Passes on KeyboardInterrupt, and the error if no worker can be started. Ends all workers.
    """
    crew = _Crew(go_on, on_done, sum(len(queue.cases) for wave in waves for queue in wave))
    try:
        for wave in waves:
            crew.observe(wave)
    finally:
        for worker in (worker for wave in waves for queue in wave for worker in queue.ready):
            worker.close()  # its wave was not reached
    return crew.notes


class _Crew:
    """Workers, each with a thread that asks it, and records the answers one at a time."""

    def __init__(self, go_on: Callable[[], bool], on_done: Callable[[int, int], None], cases: int) -> None:
        self._go_on, self._on_done = go_on, on_done
        self._done, self._cases = 0, cases
        self._stopped = threading.Event()
        self._recording = threading.Lock()
        self._workers: set[WorkerProcess] = set()
        self.notes: list[str] = []

    def observe(self, queues: Sequence[Queue]) -> None:
        """Observe the cases of these queues at the same time."""
        self._on_done(self._done, self._cases)
        threads = [
            (queue, queue.ready.pop() if queue.ready else None)
            for queue in queues
            for _ in range(queue.workers if queue.cases else len(queue.ready))
        ]
        with futures.ThreadPoolExecutor(max(1, len(threads))) as pool:
            try:
                for work in futures.as_completed(pool.submit(self._work, queues, *thread) for thread in threads):
                    work.result()
            except BaseException:  # Ctrl-C too: threads that wait for a worker get WorkerLost
                self._stopped.set()
                for worker in list(self._workers):
                    worker.kill()
                raise

    def _work(self, queues: Sequence[Queue], queue: Queue, worker: WorkerProcess | None) -> None:
        """Take the queue's cases until there are none left, then those of other queues that have many."""
        try:
            while self._go_on() and not self._stopped.is_set():
                try:
                    case = queue.cases.popleft()
                except IndexError:
                    self._end(worker)
                    worker, queue = None, max(queues, key=lambda other: len(other.cases))
                    if len(queue.cases) < CASES_PER_WORKER:
                        break
                    continue
                is_new = worker is None
                worker = self._one(queue, case, worker or queue.start(), is_new=is_new)
        finally:
            self._end(worker)

    def _one(self, queue: Queue, case: Case, worker: WorkerProcess, *, is_new: bool) -> WorkerProcess | None:
        """Observe a case; returns the worker if it can take the next one."""
        reply, lost = None, ""
        self._workers.add(worker)
        if self._stopped.is_set():  # this worker was not there yet when the others were killed
            worker.kill()
        try:
            if is_new:
                worker.wait_ready()
            reply = queue.recorder.ask(worker, queue.recorder.building.observe(case))
        except WorkerLost as fault:
            lost = str(fault)
        with self._recording:
            if self._stopped.is_set():
                return worker
            if reply is None:
                self.notes.append((f"{queue.side}: " if queue.side else "") + queue.recorder.drop_lost(case, lost))
            else:
                queue.recorder.note_observed(case, reply)
            self._done += 1
            self._on_done(self._done, self._cases)
        if reply is None or reply.get("status") == "failed":
            self._end(worker)  # the state that the case left behind is unknown
            return None
        return worker

    def _end(self, worker: WorkerProcess | None) -> None:
        if worker is not None:
            self._workers.discard(worker)
            worker.close()
