"""The processes and threads that a case may not leave running."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from rnnbench.cells import CellError
from rnnbench.store.records import Case
from rnnbench.text import first_few

MAX_NAMED_LEFT = 3  # a cell that leaves a thread a step leaves thousands
HELPER = "multiprocessing.resource_tracker"  # Python's own, which lives as long as its parent, and is idle


def running_processes() -> dict[int, str]:
    """Return the descendants of this process that have not ended: process id -> a readable name."""
    try:  # whether there is any child, even one that has ended; this system call takes a microsecond
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return {}
    descriptions = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended after it was listed
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and HELPER not in command:
                descriptions[process.pid] = f"{process.pid} ({command[:60] or process.name()})"
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
    more = {*threading.enumerate()} - before
    if names := sorted(thread.name for thread in more if not isinstance(thread, threading._DummyThread)):
        # A dummy is none that Python code has started, such as autograd's own.
        raise CellError(
            f"the call leaves threads running: {first_few(names, MAX_NAMED_LEFT)}; end them within the call"
        )
