"""For `make coverage`, which puts this folder on PYTHONPATH: workers end by themselves, and can tell what they reached.

A coordinator closes a worker's input and kills it at once; here it first gives it the time to end.
"""

import contextlib
import subprocess
from typing import Any

PATIENCE_SECONDS = 5.0
_kill = subprocess.Popen.kill


def _kill_late(process: subprocess.Popen[Any]) -> None:
    if process.stdin is not None and process.stdin.closed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
    _kill(process)


subprocess.Popen.kill = _kill_late  # type: ignore[assignment, method-assign]
