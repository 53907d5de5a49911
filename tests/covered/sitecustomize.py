"""Used by `make coverage`, which puts this folder on PYTHONPATH: workers exit by themselves and save their coverage.

A coordinator closes a worker's input and kills it at once. Here it first gives the worker time to exit.
"""

import os
import time

PATIENCE_SECONDS = 5.0
_kill = os.killpg


def _kill_late(group: int, number: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and os.waitid(os.P_PID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)
    _kill(group, number)


os.killpg = _kill_late
