"""Protection around each request: a case can't harm the cases after it, and may leave no thread or process running."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from rnnbench.cells import CellError
from rnnbench.harness.machine.global_state import CORES, OF_THE_CODE, PROCESS, capture, restore
from rnnbench.harness.worker.streams import WorkerStreams
from rnnbench.store.records import Case
from rnnbench.text import first_few

MAX_NAMED = 3  # a cell that leaves a thread a step leaves thousands
# Python's own helper. It lives as long as the process that started it, and is idle.
HELPERS = ("multiprocessing.resource_tracker",)


class CaseGuard:
    """Restores the process after a request, and reports what can't be restored."""

    def __init__(self, streams: WorkerStreams) -> None:
        self.streams = streams
        self._state = capture(PROCESS)
        self._children: frozenset[int] = frozenset()

    def begin(self) -> None:
        """Note the state before a request; the coordinator chose the cores, not a case."""
        self._state |= capture({name: PROCESS[name] for name in PROCESS.keys() & {CORES}})
        self._children = frozenset(running_processes())

    def adopt(self) -> None:
        """Let what the import of the code under test has changed stay."""
        self._state |= capture({name: PROCESS[name] for name in OF_THE_CODE})

    def end(self, *, may_have_children: bool) -> None:
        """Restore the process; raises CellError if it can't be, or if a case has left a process running."""
        try:
            restore(self._state, PROCESS)
        finally:
            self.streams.restore()
        left = {} if may_have_children else running_processes()
        if new := [name for number, name in left.items() if number not in self._children]:
            raise CellError(f"it leaves processes running: {first_few(new, MAX_NAMED)}; end them within the call")


def running_processes() -> dict[int, str]:
    """Return the descendants of this process that have not ended: process id -> a readable name."""
    try:  # whether there is any child, even one that has ended; this system call takes a microsecond
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return {}
    descriptions = {}
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and not any(helper in command for helper in HELPERS):
                descriptions[process.pid] = f"{process.pid} ({command[:60] or process.name()})"
        except psutil.NoSuchProcess:  # it ended after it was listed
            continue
    return descriptions


@contextmanager
def no_threads_left(case: Case) -> Iterator[None]:
    """Raise CellError at the end if a thread of Python runs that did not run at the beginning.

    Processes that load data are fed by threads, so a case that has some may leave threads.
    """
    before = {*threading.enumerate()}
    yield
    if case.workload.workers:
        return
    left = {*threading.enumerate()} - before
    if names := sorted(thread.name for thread in left if not isinstance(thread, threading._DummyThread)):
        # A dummy is none that Python code has started, such as autograd's own.
        raise CellError(f"it leaves threads running: {first_few(names, MAX_NAMED)}; end them within the call")
