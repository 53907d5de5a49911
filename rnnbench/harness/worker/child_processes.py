"""Processes that a case starts: copies of the worker are refused, and what still runs after a call is told."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import psutil

PR_SET_CHILD_SUBREAPER = 36
# Python's own helper, which lives as long as the process that needed it and does nothing.
HELPERS = ("multiprocessing.resource_tracker",)


def adopt_orphans() -> None:
    """On Linux: processes whose parent has ended become children of this one, however far they have gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def refuse_copies() -> None:
    """Make `os.fork` raise in this process, but for `multiprocessing`, whose processes never return to the caller.

    A copy of a worker would go on with the call that it was copied in, and with all that come after it, on the cores
    that are being timed.
    """
    for name in ("fork", "forkpty"):
        if hasattr(os, name):
            setattr(os, name, _refused(getattr(os, name)))


def _refused(fork: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return fork() if caller.startswith("multiprocessing.") else _refuse()

    return call


def _refuse() -> NoReturn:
    raise RuntimeError(
        "os.fork would copy rnnbench's worker and is not allowed; start another program or a thread instead"
    )


def running() -> dict[int, str]:
    """The processes below this one that have not ended: number -> name for people."""
    if not _has_children():
        return {}
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and not any(helper in command for helper in HELPERS):
                found[process.pid] = f"{process.pid} ({command[:60] or process.name()})"
        except psutil.NoSuchProcess:  # it has ended since it was listed
            continue
    return found


def _has_children() -> bool:
    """Whether there is any child, also one that has ended: a question to the system that takes a microsecond."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
