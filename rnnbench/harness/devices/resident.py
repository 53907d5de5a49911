"""Pages of memory that one call adds to this process, as the system counts them."""

import ctypes
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from rnnbench.store.readings import Unavailable
from rnnbench.workloads.phases import TimedCall

ROLLUP = Path("/proc/self/smaps_rollup")
RESIDENT = re.compile(rb"^Rss:\s+(\d+) kB$", re.MULTILINE)
MAX_ROLLUP = 1 << 13  # bytes; it has a kilobyte

# glibc's `mallopt` parameters, and Linux's `prctl` against huge pages: touching one byte makes 2 MB resident.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
PR_SET_THP_DISABLE = 41
TRIAL_BYTES = 8 << 20


def resident_bytes(timed: TimedCall) -> int:
    """Bytes of the pages that a call adds to those that the process already holds; raises Unavailable.

    The kernel's own high-water mark is off by up to 32 pages per core. So the allocator is set, for the rest of this
    process's life, to release nothing while a call runs: the resident set after the call is then its peak.
    """
    with timed.mode():
        timed.call()  # memory of one-time set-up does not count
        return _growth(timed.call)


def _growth(call: Callable[[], object]) -> int:
    trim = _keep_all_memory()
    trim()
    _resident()  # touches the pages that reading itself needs
    before = _resident()
    call()
    return _resident() - before


@cache
def _keep_all_memory() -> Callable[[], object]:
    """Make malloc keep freed memory; returns a function that releases it between calls. Raises Unavailable."""
    libc = ctypes.CDLL(None)
    if not ROLLUP.exists() or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        raise Unavailable("the resident set can be measured under Linux and glibc only")
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 0)):
        libc.mallopt(parameter, value)
    libc.malloc_trim(0)
    before = _resident()
    torch.ones(TRIAL_BYTES, dtype=torch.uint8)
    if _resident() - before < TRIAL_BYTES:
        raise Unavailable("the allocator in use gives memory back at once, so its peak can't be seen")
    trim: Callable[[], object] = lambda: libc.malloc_trim(0)  # noqa: E731 - mypy needs the type
    return trim


def _resident() -> int:
    """The bytes of resident pages. Reading them takes no memory that a later call could use."""
    descriptor, buffer = _rollup(os.getpid())
    size = os.preadv(descriptor, [buffer], 0)
    match = RESIDENT.search(buffer, 0, size)
    if match is None:
        raise Unavailable(f"{ROLLUP} does not tell the resident set")
    return int(match[1]) * 1024


@cache
def _rollup(process: int) -> tuple[int, bytearray]:
    """The open file of a process, and memory to read it into; raises Unavailable."""
    try:
        return os.open(ROLLUP, os.O_RDONLY), bytearray(MAX_ROLLUP)
    except OSError as fault:
        raise Unavailable(f"{ROLLUP} can't be read: {fault.strerror}") from None
