"""Count the instructions of this thread in user space by the kernel's `perf_event_open`.

Linux only. Many virtual machines have no such counter, and `/proc/sys/kernel/perf_event_paranoid` may forbid it.
"""

import ctypes
import os
import platform
import struct
import sys
from types import TracebackType
from typing import Self

from rnnbench.store.readings import Unavailable

SYSCALLS = {"x86_64": 298, "aarch64": 241}  # the number of perf_event_open
HARDWARE, INSTRUCTIONS = 0, 1  # PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS
ATTRIBUTE_BYTES = 64  # of the first version of `struct perf_event_attr`
EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
FLAGS_AT = 40  # bytes before the flags


class PerfEvent:
    """A counter of this thread; it counts from when it is opened until it is closed."""

    def __init__(self, kind: int = HARDWARE, event: int = INSTRUCTIONS) -> None:
        """Raises Unavailable if the kernel has no such counter or refuses it."""
        number = SYSCALLS.get(platform.machine())
        if sys.platform != "linux" or number is None:
            raise Unavailable("the system has no perf_event counters that rnnbench knows")
        attribute = bytearray(ATTRIBUTE_BYTES)
        struct.pack_into("IIQ", attribute, 0, kind, ATTRIBUTE_BYTES, event)
        struct.pack_into("Q", attribute, FLAGS_AT, EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR)
        libc = ctypes.CDLL(None, use_errno=True)
        block = (ctypes.c_char * ATTRIBUTE_BYTES).from_buffer(attribute)
        this_thread, any_core, no_group = 0, -1, -1
        self._descriptor = int(libc.syscall(number, block, this_thread, any_core, no_group, 0))
        if self._descriptor < 0:
            raise Unavailable(f"the kernel gives no instruction counter: {os.strerror(ctypes.get_errno())}")

    def read(self) -> int:
        """The count so far."""
        (count,) = struct.unpack("Q", os.read(self._descriptor, 8))
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
        with PerfEvent():
            return ""
    except Unavailable as reason:
        return str(reason)
