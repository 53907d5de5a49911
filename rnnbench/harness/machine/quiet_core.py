"""The core on which calls are made: of those that are equal, the one that is quiet more often.

A neighbour on the same physical core works for some seconds at a time, so the choice is made anew all the time.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rnnbench.harness.machine.kept_pulse import KeptPulse
from rnnbench.harness.machine.pulse import Pulses

MAX_CHOICES = 8  # cores that are looked at; each look takes some milliseconds
LOOKING_SHARE = 0.05  # of the time of turns, for looking which core is quiet


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
