"""The pass before all timing: each case's parity is checked and its metrics are observed, once.

Nothing is timed meanwhile, so several workers do it at once. None of them is timed later, since probes change how a
process allocates.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.protocol import FailedReply, ObserveReply
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


@dataclass(frozen=True)
class ObservedCase:
    """The outcome of one case: a reply, or how its worker was lost."""

    queue: Queue
    case: Case
    reply: ObserveReply | FailedReply | None
    lost: str = ""


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
    Several threads call `go_on` before each case; `on_done` gets the number of cases that are done, and of all cases.
    Passes on KeyboardInterrupt, and the error if no worker can be started. Ends all workers.
    """
    sizes = [sum(len(queue.cases) for queue in wave) for wave in waves]
    notes: list[str] = []
    try:
        for index, wave in enumerate(waves):
            notes += _observe(wave, go_on, partial(_further, on_done, sum(sizes[:index]), sum(sizes)))
    finally:
        for worker in (worker for wave in waves for queue in wave for worker in queue.ready):
            worker.close()  # its wave was not reached
    return notes


def _further(on_done: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    """Report the progress within a wave as progress of all waves."""
    on_done(before + done, total)


def _observe(queues: Sequence[Queue], go_on: Callable[[], bool], on_done: Callable[[int], None]) -> list[str]:
    crew, done, notes = _Crew(queues, go_on), 0, []
    threads: list[threading.Thread] = []
    try:
        for queue in queues:
            for _ in range(queue.workers if queue.cases else len(queue.ready)):
                ready = queue.ready.pop() if queue.ready else None
                thread = threading.Thread(target=crew.work, args=(queue, ready))
                thread.start()
                threads.append(thread)
        left = len(threads)
        on_done(done)
        while left:
            answer = crew.answers.get()
            if answer is None:
                left -= 1
                continue
            if isinstance(answer, Exception):
                raise answer
            if answer.reply is None:
                side = f"{answer.queue.side}: " if answer.queue.side else ""
                notes.append(side + answer.queue.recorder.drop_lost(answer.case, answer.lost))
            else:
                answer.queue.recorder.note_observed(answer.case, answer.reply)
            done += 1
            on_done(done)
    finally:
        crew.stop()
        for thread in threads:
            thread.join()
    return notes


class _Crew:
    """Workers, each with a thread that waits for it; answers are recorded by the thread that reads them."""

    def __init__(self, queues: Sequence[Queue], go_on: Callable[[], bool]) -> None:
        self._queues = queues
        self._go_on = go_on
        self.answers: SimpleQueue[ObservedCase | Exception | None] = SimpleQueue()  # None: a thread has ended
        self.stopped = threading.Event()
        self._workers: set[WorkerProcess] = set()

    def work(self, queue: Queue, worker: WorkerProcess | None) -> None:
        """Take the queue's cases until there are none left, then those of other queues that have many."""
        try:
            while self._go_on() and not self.stopped.is_set():
                try:
                    case = queue.cases.popleft()
                except IndexError:
                    if worker is not None:
                        self._end(worker)
                        worker = None
                    queue = max(self._queues, key=lambda other: len(other.cases))
                    if len(queue.cases) < CASES_PER_WORKER:
                        break
                    continue
                worker = self._one(queue, case, worker)
        except Exception as fault:  # for example, no worker can be started: the reading thread must know
            self.answers.put(fault)
        finally:
            if worker is not None:
                self._end(worker)
            self.answers.put(None)

    def stop(self) -> None:
        """End all work; threads that wait for a worker get WorkerLost."""
        self.stopped.set()
        for worker in list(self._workers):
            worker.kill()

    def _one(self, queue: Queue, case: Case, worker: WorkerProcess | None) -> WorkerProcess | None:
        """Observe a case; returns the worker that can take the next one, if there is one."""
        try:
            if worker is None:
                worker = queue.start()
                self._workers.add(worker)
                worker.wait_ready()
            self._workers.add(worker)
            if self.stopped.is_set():  # `stop` may not have seen this worker
                worker.kill()
            reply = queue.recorder.ask(worker, queue.recorder.building.observe(case))
        except WorkerLost as lost:
            if not self.stopped.is_set():
                self.answers.put(ObservedCase(queue, case, None, str(lost)))
            reply = None
        else:
            self.answers.put(ObservedCase(queue, case, reply))
        if worker is not None and (reply is None or reply.get("status") == "failed"):
            self._end(worker)  # the state that the case left behind is unknown
            return None
        return worker

    def _end(self, worker: WorkerProcess) -> None:
        self._workers.discard(worker)
        worker.close()
