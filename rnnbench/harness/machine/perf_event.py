"""What counts instructions: the kernel's `perf_event_open`, for this thread in user space, or else callgrind.

The kernel's is for Linux only. Many virtual machines have no such counter, and
`/proc/sys/kernel/perf_event_paranoid` may forbid it.
"""

import ctypes
import os
import platform
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rnnbench.store.metrics import Unavailable

CounterName = Literal["callgrind", "perf_event"]
SYSCALLS = {"x86_64": 298, "aarch64": 241}  # the number of perf_event_open
HARDWARE = 0  # PERF_TYPE_HARDWARE
INSTRUCTIONS = 1  # PERF_COUNT_HW_INSTRUCTIONS
# The first version of `struct perf_event_attr`: type, size, config, sample period, sample type, read format, flags, ...
ATTRIBUTE = "IIQQQQQIIQ"
EXCLUDE_KERNEL = 1 << 5
EXCLUDE_HYPERVISOR = 1 << 6
# PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_FORMAT_TOTAL_TIME_RUNNING: how long the thread ran, and how long it was counted
READ_FORMAT = 1 | 2
TRIAL_STEPS = 1000
PROGRAMS = ("valgrind", "vgdb")  # of callgrind
VALGRIND_REMEDY = "install valgrind (Debian, Ubuntu: apt install valgrind; Fedora: dnf install valgrind)"


@contextmanager
def counting(kind: int = HARDWARE, event: int = INSTRUCTIONS) -> Iterator[Callable[[], int]]:
    """Count the instructions of this thread, and give a function that returns the count so far.

    Raises Unavailable if the kernel has no such counter or refuses it. So does the function if the kernel has not
    counted all the time: programs may share a counter in turns, and one of a laptop may count on one of its two kinds
    of cores only.
    """
    number = SYSCALLS.get(platform.machine())
    if sys.platform != "linux" or number is None:
        raise Unavailable("the system has no perf_event counters that rnnbench knows")
    flags = EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
    attribute = struct.pack(ATTRIBUTE, kind, struct.calcsize(ATTRIBUTE), event, 0, 0, READ_FORMAT, flags, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    this_thread = 0
    any_core = -1
    no_group = -1
    descriptor = int(libc.syscall(number, attribute, this_thread, any_core, no_group, 0))
    if descriptor < 0:
        raise Unavailable(f"the kernel gives no instruction counter: {os.strerror(ctypes.get_errno())}")

    def read() -> int:
        count, enabled, running = struct.unpack("QQQ", os.read(descriptor, 24))
        if running < enabled:
            raise Unavailable(f"the kernel counted instructions only {running / enabled:.0%} of the time")
        return int(count)

    try:
        yield read
    finally:
        os.close(descriptor)


def choose_counter() -> CounterName:
    """Return what counts instructions on this machine; raises Unavailable if nothing does."""
    try:
        with counting() as read:
            before = read()
            sum(range(TRIAL_STEPS))
            if read() > before:
                return "perf_event"
        by_kernel = "the kernel's instruction counter does not move"
    except Unavailable as reason:
        by_kernel = str(reason)
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise Unavailable(f"{by_kernel}; {' and '.join(missing)} can't be found; {VALGRIND_REMEDY}")
    return "callgrind"
