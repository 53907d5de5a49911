"""The best pulse of this machine for one Python, which the user's cache keeps from run to run.

A core that another hyperthread uses all the time never shows its best pulse, and would look quiet by its own.
"""

import platform
from pathlib import Path

from rnnbench.harness.machine.cores import processor
from rnnbench.store.user_cache import CacheFile

MAX_AGE_SECONDS = 7 * 86_400.0  # a machine may move to another host, which has other clock rates


class KeptPulse:
    """The best pulse of one Python; nothing is kept without a folder."""

    def __init__(self, folder: Path | None, python: str) -> None:
        """`folder`: of the user's cache; `python`: its version."""
        self._file = CacheFile(folder, "pulse", [processor().to_json(), platform.node(), python])

    def best_seconds(self) -> float | None:
        """Return the seconds of the best pulse of the last days; None if none is known."""
        seconds = self._file.read(MAX_AGE_SECONDS).get("seconds")
        return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None

    def keep(self, seconds: float) -> None:
        """Keep a pulse if it is better than the one that is known."""
        best = self.best_seconds()
        if best is None or seconds < best:
            self._file.write({"seconds": seconds})
