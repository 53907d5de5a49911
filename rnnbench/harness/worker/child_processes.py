"""Processes that a case starts: the worker refuses copies of itself, and reports processes that outlive a call."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import psutil

PR_SET_CHILD_SUBREAPER = 36
# Python's own helper. It lives as long as the process that started it, and is idle.
HELPERS = ("multiprocessing.resource_tracker",)


def adopt_orphans() -> None:
    """On Linux: all descendants whose parent has ended become children of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def refuse_copies() -> None:
    """Make `os.fork` raise in this process, except for `multiprocessing`, whose processes never return to the caller.

    A copy of a worker would continue the current call and all later ones, on the cores that are being timed.
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
    """Descendants of this process that have not ended: process id -> a readable name."""
    if not _has_children():
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


def _has_children() -> bool:
    """Whether there is any child process, even one that has ended; this system call takes a microsecond."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
