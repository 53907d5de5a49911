"""End a process and all processes that it started, even those that moved to a group of their own."""

import contextlib
import os
import signal
import subprocess
import time

import psutil

from rnnbench.harness.coordinator.origin import ForkedProcess

LOOK_SECONDS = 0.002  # between looks at whether the process has ended


def end_with_descendants(process: "subprocess.Popen[bytes] | ForkedProcess", grace_seconds: float) -> bool:
    """Wait for a process that leads a group of its own, kill what is left of its group and descendants, and reap it.

    Returns whether the process ended by itself within `grace_seconds`.
    """
    ended_itself = _has_ended(process.pid, grace_seconds)
    family = _descendants(process.pid)
    # Before the process is reaped: until then, no other process or group can get its number.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    for relative in family:
        with contextlib.suppress(psutil.Error):
            relative.kill()
    process.wait()
    return ended_itself


def _has_ended(pid: int, seconds: float) -> bool:
    """Whether a child has ended or ends within these seconds; it is not reaped."""
    end = time.monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= end:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:  # it has ended
        return []
