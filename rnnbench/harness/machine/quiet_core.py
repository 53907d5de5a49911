"""The core on which calls are made: of those that are equal, the one that is quiet more often.

A neighbour on the same physical core works for some seconds at a time, so the choice is made anew all the time.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rnnbench.harness.machine.cores import processor
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.store.user_cache import CacheFile

MAX_CHOICES = 8  # cores that are looked at; each look takes some milliseconds
LOOKING_SHARE = 0.05  # of the time of turns, for looking which core is quiet
MAX_AGE_SECONDS = 7 * 86_400.0  # a machine may move to another host, which has other clock rates


class KeptPulse:
    """The best pulse of this machine for one Python, which the user's cache keeps from run to run.

    A core that another hyperthread uses all the time never shows its best pulse, and would look quiet by its own.
    Nothing is kept without a folder.
    """

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


class QuietCore:
    """Pulses beside live calls, and the cores of which one is chosen for these."""

    def __init__(
        self,
        pulses: Pulses,
        choices: Sequence[Sequence[int]] = (),
        kept_pulse: KeptPulse | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`choices`: sets of cores; with fewer than two, the system moves the calls as it likes."""
        self.pulses = pulses
        self._choices = choices
        self._kept_pulse = kept_pulse
        self._now = now
        self._next_look = -math.inf

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let `choose` move the calling thread; at the end put it back, and keep the best pulse for other processes."""
        before = os.sched_getaffinity(0) if len(self._choices) > 1 else set[int]()
        try:
            yield
        finally:
            if before:
                os.sched_setaffinity(0, before)
            if self._kept_pulse is not None and math.isfinite(self.pulses.best):
                self._kept_pulse.keep(self.pulses.best)

    def choose(self) -> None:
        """Move the calling thread to the core that is quiet more often now; do nothing soon after the last look."""
        begun = self._now()
        if len(self._choices) < 2 or begun < self._next_look:
            return
        os.sched_setaffinity(0, self.pulses.quietest(self._choices))
        ended = self._now()
        self._next_look = ended + (ended - begun) / LOOKING_SHARE
