"""Settings of the process, apart from torch's, that a case may change."""

import gc
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rnnbench.harness.machine import process_state
from rnnbench.harness.machine.global_settings import NotRestoredError, read
from rnnbench.harness.machine.process_state import CORES, ProcessState


def lower(name: str) -> Callable[[], None]:
    """Lower the soft limit of a resource, which can be raised again."""
    number = getattr(resource, name)

    def change() -> None:
        soft, hard = resource.getrlimit(number)
        resource.setrlimit(number, (1 << 40 if soft == resource.RLIM_INFINITY else soft - 1, hard))

    return change


def take_over(*_: object) -> None:
    """A signal handler."""


# setting -> how a cell changes it for all later cases
CHANGES: dict[str, Callable[[], object]] = {
    "alarm": lambda: signal.alarm(100),
    "timer of its own time": lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 100),
    "profiling timer": lambda: signal.setitimer(signal.ITIMER_PROF, 100),
    "signal handlers": lambda: signal.signal(signal.SIGALRM, take_over),
    "blocked signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
    "garbage collection": lambda: gc.disable() if gc.isenabled() else gc.enable(),
    "garbage collection thresholds": lambda: gc.set_threshold(1, 1, 1),
    "tracing": lambda: sys.settrace(lambda *_: None),
    "profiling": lambda: sys.setprofile(lambda *_: None),
    "tracing of threads": lambda: threading.settrace(lambda *_: None),
    "profiling of threads": lambda: threading.setprofile(lambda *_: None),
    "switch interval": lambda: sys.setswitchinterval(1e-4),
    "recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "standard input": lambda: setattr(sys, "stdin", None),
    "standard output": lambda: setattr(sys, "stdout", None),
    "standard error": lambda: setattr(sys, "stderr", None),
    "exception hook": lambda: setattr(sys, "excepthook", take_over),
    "warning filters": lambda: warnings.simplefilter("ignore"),
    "current folder": lambda: os.chdir("/"),
    "umask": lambda: os.umask(0o123),
    "environment variables": lambda: os.environ.update(OMP_NUM_THREADS="64", RNNBENCH_NEW="1"),
    CORES: lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
    **{f"limit {name}": lower(name) for name in process_state.LIMITS},
}
ONLY_READ = {"nice value"}  # without root rights it can be raised but not lowered again


@contextmanager
def saved_state() -> Iterator[ProcessState]:
    """Restore the state at the end. Not a fixture, since pytest changes the environment between set-up and call."""
    state = ProcessState()
    try:
        yield state
    finally:
        state.restore()


def test_each_setting_has_a_test_of_how_a_cell_changes_it() -> None:
    assert CHANGES.keys() | ONLY_READ == process_state.SETTINGS.keys()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core allows no other choice of cores")
@pytest.mark.parametrize("name", CHANGES)
def test_what_a_cell_changes_of_its_process_is_put_back(name: str) -> None:
    before = read(process_state.SETTINGS)
    with saved_state():
        CHANGES[name]()
        assert read(process_state.SETTINGS)[name] != before[name]
    assert read(process_state.SETTINGS) == before


def test_the_cores_that_the_coordinator_has_chosen_are_kept() -> None:
    before = os.sched_getaffinity(0)
    chosen = {min(before)}
    state = ProcessState()
    try:
        os.sched_setaffinity(0, chosen)
        state.begin()
        state.restore()
        assert os.sched_getaffinity(0) == chosen
    finally:
        os.sched_setaffinity(0, before)


def test_a_change_that_can_not_be_undone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = process_state.SETTINGS["umask"]._replace(write=lambda value: None)
    with saved_state() as state, monkeypatch.context() as patched:
        patched.setitem(process_state.SETTINGS, "umask", stuck)
        os.umask(0o111)
        with pytest.raises(NotRestoredError, match="umask"):
            state.restore()
