"""The state of a process, other than torch's, that a case could change: restored after every request.

To add a setting: a line in `SETTINGS`, and one in `tests/harness/machine/test_process_state.py` that changes it.
"""

import gc
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

from rnnbench.harness.machine.global_settings import Setting, attribute, put_back, read

CATCHABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_STACK")


def _handlers() -> tuple[Any, ...]:
    return tuple(map(signal.getsignal, CATCHABLE))


def _set_handlers(wanted: tuple[Any, ...]) -> None:
    for number, handler in zip(CATCHABLE, wanted, strict=True):
        if handler is not None and signal.getsignal(number) is not handler:  # None: set by C code, not restorable
            signal.signal(number, handler)


def _timer(which: int) -> Setting:
    """Whether an alarm is pending. The remaining time is not compared, since it changes by itself."""
    return Setting(lambda: signal.getitimer(which) != (0.0, 0.0), lambda value: signal.setitimer(which, 0.0))


def _mask() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _umask() -> int:
    mask = os.umask(0o077)  # the only way to read it is to set it
    os.umask(mask)
    return mask


def _set_filters(wanted: list[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters.extend(wanted)  # type: ignore[attr-defined]


def _set_environment(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


def _limit(name: str) -> Setting:
    number = getattr(resource, name)
    return Setting(lambda: resource.getrlimit(number), partial(resource.setrlimit, number))


SETTINGS: dict[str, Setting] = {
    # First, so that no alarm goes off while the handlers are being replaced.
    "alarm": _timer(signal.ITIMER_REAL),
    "timer of its own time": _timer(signal.ITIMER_VIRTUAL),
    "profiling timer": _timer(signal.ITIMER_PROF),
    "signal handlers": Setting(_handlers, _set_handlers),
    "blocked signals": Setting(_mask, partial(signal.pthread_sigmask, signal.SIG_SETMASK)),
    "garbage collection": Setting(gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    "garbage collection thresholds": Setting(gc.get_threshold, lambda value: gc.set_threshold(*value)),
    "tracing": Setting(sys.gettrace, sys.settrace),
    "profiling": Setting(sys.getprofile, sys.setprofile),
    "tracing of threads": Setting(threading.gettrace, threading.settrace),
    "profiling of threads": Setting(threading.getprofile, threading.setprofile),
    "switch interval": Setting(sys.getswitchinterval, sys.setswitchinterval),
    "recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "standard input": attribute(sys, "stdin"),
    "standard output": attribute(sys, "stdout"),
    "standard error": attribute(sys, "stderr"),
    "exception hook": attribute(sys, "excepthook"),
    "warning filters": Setting(lambda: list(warnings.filters), _set_filters),
    "current folder": Setting(os.getcwd, os.chdir),
    "umask": Setting(_umask, os.umask),
    "environment variables": Setting(lambda: dict(os.environ), _set_environment),
    "nice value": Setting(lambda: os.getpriority(os.PRIO_PROCESS, 0), partial(os.setpriority, os.PRIO_PROCESS, 0)),
    **{f"limit {name}": _limit(name) for name in LIMITS},
}
CORES = "allowed cores"  # the coordinator chooses them again for each visit
if hasattr(os, "sched_setaffinity"):
    SETTINGS[CORES] = Setting(lambda: os.sched_getaffinity(0), partial(os.sched_setaffinity, 0))

# What code changes for itself when it is imported. The others would disturb a worker, and make no call slower.
OF_THE_CODE = {"tracing", "profiling", "tracing of threads", "profiling of threads", "switch interval"}
OF_THE_CODE |= {"recursion limit", "warning filters", "current folder", "environment variables"}


class ProcessState:
    """The state at the start of a process, restored after each request."""

    def __init__(self) -> None:
        self._wanted = read(SETTINGS)

    def begin(self) -> None:
        """Note the current cores: the coordinator chose them, not a case."""
        if CORES in SETTINGS:
            self._wanted[CORES] = SETTINGS[CORES].read()

    def adopt(self) -> None:
        """Take over what the import of the code under test has changed."""
        self._wanted |= read({name: SETTINGS[name] for name in OF_THE_CODE})

    def restore(self) -> None:
        """Restore everything; raises NotRestoredError if a setting does not change back."""
        put_back(SETTINGS, self._wanted)
