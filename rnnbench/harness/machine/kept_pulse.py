"""The best pulse of this machine for one Python, which the user's cache keeps from run to run.

A core that another hyperthread uses all the time never shows its best pulse, and would look quiet by its own.
"""

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.harness.machine.cores import processor
from rnnbench.store.folder import write_whole
from rnnbench.store.stored_record import content_of, parsed

MAX_AGE_SECONDS = 7 * 86_400.0  # a machine may move to another host, which has other clock rates


@dataclass(frozen=True)
class KeptPulse:
    """The file of one Python; nothing is kept without a folder."""

    folder: Path | None  # of the user's cache
    python: str  # version

    def best_seconds(self) -> float | None:
        """Return the seconds of the best pulse of the last days; None if none is known."""
        file = self._file
        if file is None or not file.exists():
            return None
        try:
            if time.time() - file.stat().st_mtime > MAX_AGE_SECONDS:
                return None
            seconds = parsed(content_of(file)).get("seconds")
        except (UserError, OSError):  # cut off, or removed meanwhile
            return None
        return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None

    def keep(self, seconds: float) -> None:
        """Keep a pulse if it is better than the one that is known."""
        best = self.best_seconds()
        if self._file is None or (best is not None and best <= seconds):
            return
        try:
            write_whole(self._file, json.dumps({"seconds": seconds}).encode())
        except OSError:  # the disk is full, say: a cache is no reason to end a run
            return

    @property
    def _file(self) -> Path | None:
        if self.folder is None:
            return None
        about = json.dumps([processor().to_json(), platform.node(), self.python], sort_keys=True, default=str)
        return self.folder / f"pulse-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
