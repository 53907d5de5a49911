"""The kernel's counters. Virtual machines have no counter of instructions, but all have that of a thread's time."""

import os
import platform
import shutil
import struct
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest

from rnnbench.harness.machine import perf_event
from rnnbench.store.metrics import Unavailable
from tests.doubles import repository

SOFTWARE, TASK_CLOCK = 1, 1  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK: nanoseconds on a processor


TASK = partial(perf_event.counting, SOFTWARE, TASK_CLOCK)


def test_a_counter_grows_with_the_work_of_this_thread() -> None:
    with suppress(Unavailable), TASK() as read:  # a container may forbid all counters
        first = read()
        sum(range(10**6))
        assert read() > first > 0


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([(5, 100, 100), (9, 200, 200)], "perf_event"),
        ([(0, 100, 100), (0, 200, 200)], "the kernel's instruction counter does not move"),  # some virtual machines
        ([(5, 100, 100), (9, 200, 150)], "the kernel counted instructions only 75% of the time"),
        ([(0, 100, 0)], "the kernel counted instructions only 0% of the time"),  # on a core of the other kind
    ],
)
def test_a_counter_that_does_not_count_everything_is_not_used(
    monkeypatch: pytest.MonkeyPatch, readings: list[tuple[int, int, int]], reason: str
) -> None:
    blocks = (struct.pack("QQQ", *reading) for reading in readings)
    with monkeypatch.context() as patched:
        patched.setattr(perf_event, "ctypes", Mock(**{"CDLL.return_value.syscall.return_value": 10**6}))
        patched.setattr(sys, "platform", "linux")
        patched.setattr(perf_event, "SYSCALLS", {platform.machine(): 1})
        patched.setattr(os, "read", lambda *_: next(blocks))
        patched.setattr(os, "close", lambda _: None)
        patched.setattr(shutil, "which", lambda name: None)
        try:
            found: str = perf_event.choose_counter()
        except Unavailable as told:
            found = str(told).partition(";")[0]
    assert found == reason


def test_callgrind_counts_where_it_is_installed_and_the_kernel_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(perf_event, "SYSCALLS", {})
    with pytest.raises(
        Unavailable, match=r"the system has no perf_event .*; valgrind and vgdb can't be found; install"
    ):
        perf_event.choose_counter()
    for name in perf_event.PROGRAMS:
        repository.executable(tmp_path / name, "exit 0")
    assert perf_event.choose_counter() == "callgrind"
