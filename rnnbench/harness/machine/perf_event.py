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
from types import TracebackType
from typing import Literal, Self

from rnnbench.store.readings import Unavailable

SYSCALLS = {"x86_64": 298, "aarch64": 241}  # the number of perf_event_open
HARDWARE, INSTRUCTIONS = 0, 1  # PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS
ATTRIBUTE_BYTES = 64  # of the first version of `struct perf_event_attr`
EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
# PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_FORMAT_TOTAL_TIME_RUNNING: how long the thread ran, and how long it was counted
READ_FORMAT = 1 | 2
FORMAT_AT, FLAGS_AT = 32, 40  # bytes before them
TRIAL_STEPS = 1000
PROGRAMS = ("valgrind", "vgdb")  # of callgrind
REMEDY = "install valgrind (Debian, Ubuntu: apt install valgrind; Fedora: dnf install valgrind)"


class PerfEvent:
    """A counter of this thread; it counts from when it is opened until it is closed."""

    def __init__(self, kind: int = HARDWARE, event: int = INSTRUCTIONS) -> None:
        """Raises Unavailable if the kernel has no such counter or refuses it."""
        number = SYSCALLS.get(platform.machine())
        if sys.platform != "linux" or number is None:
            raise Unavailable("the system has no perf_event counters that rnnbench knows")
        attribute = bytearray(ATTRIBUTE_BYTES)
        struct.pack_into("IIQ", attribute, 0, kind, ATTRIBUTE_BYTES, event)
        struct.pack_into("Q", attribute, FORMAT_AT, READ_FORMAT)
        struct.pack_into("Q", attribute, FLAGS_AT, EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR)
        libc = ctypes.CDLL(None, use_errno=True)
        block = (ctypes.c_char * ATTRIBUTE_BYTES).from_buffer(attribute)
        this_thread, any_core, no_group = 0, -1, -1
        self._descriptor = int(libc.syscall(number, block, this_thread, any_core, no_group, 0))
        if self._descriptor < 0:
            raise Unavailable(f"the kernel gives no instruction counter: {os.strerror(ctypes.get_errno())}")

    def read(self) -> int:
        """The count so far; raises Unavailable if the kernel has not counted all the time.

        Programs may share a counter in turns, and one of a laptop may count on one of its two kinds of cores only.
        """
        count, enabled, running = struct.unpack("QQQ", os.read(self._descriptor, 24))
        if running < enabled:
            raise Unavailable(f"the kernel counted instructions only {running / enabled:.0%} of the time")
        return int(count)

    def close(self) -> None:
        """Give the counter back."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def why_not() -> str:
    """Why instructions can't be counted by the kernel here; empty if they can."""
    try:
        with PerfEvent() as counter:
            before = counter.read()
            sum(range(TRIAL_STEPS))
            return "" if counter.read() > before else "the kernel's instruction counter does not move"
    except Unavailable as reason:
        return str(reason)


def choose_counter() -> Literal["callgrind", "perf_event"]:
    """Return what counts instructions on this machine; raises Unavailable if nothing does."""
    if not (by_kernel := why_not()):
        return "perf_event"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise Unavailable(f"{by_kernel}; {' and '.join(missing)} can't be found; {REMEDY}")
    return "callgrind"
