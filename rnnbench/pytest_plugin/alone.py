"""One test at a time is timed, however many processes pytest-xdist has."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

XDIST_WORKER = "PYTEST_XDIST_WORKER"  # in the environment of its processes


def is_under_xdist() -> bool:
    """Whether other tests may run at the same time, in the other processes of pytest-xdist."""
    return XDIST_WORKER in os.environ


@contextmanager
def timed_alone() -> Iterator[None]:
    """Wait until no other pytest-xdist process on this machine times a test; the others wait until this one is done.

    The lock is taken on this source file, which is opened for reading only. On a file system without locks, tests do
    not wait.
    """
    if not is_under_xdist():
        yield
        return
    with Path(__file__).open("rb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
