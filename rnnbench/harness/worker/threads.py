"""Threads that a case leaves running: they work beside the clock, or beside the next case."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rnnbench.cells import CellError
from rnnbench.store.records import Case
from rnnbench.text import first_few

MAX_NAMED = 3  # a cell that leaves one a step leaves thousands


@contextmanager
def none_left(case: Case) -> Iterator[None]:
    """Raise CellError at the end if a thread of Python runs that did not run at the beginning.

    Processes that load data are fed by threads, so a case that has some may leave threads.
    """
    before = running()
    yield
    if case.workload.workers:
        return
    if left := sorted(thread.name for thread in running() - before):
        raise CellError(f"it leaves threads running: {first_few(left, MAX_NAMED)}; end them within the call")


def running() -> set[threading.Thread]:
    """The threads that Python code has started; autograd's own, which may call Python code, are not among them."""
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}
