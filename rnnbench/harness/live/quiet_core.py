"""The core on which calls of this process are made: the one that is quiet more often, as pulses beside the calls tell.

A run's coordinator chooses a core for each visit, and keeps the best pulse from run to run. Here both are done by the
process whose calls are timed.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from rnnbench.analysis.quiet import QuietBlocks, low_parts
from rnnbench.analysis.quiet_rounds import RoundTimes
from rnnbench.analysis.replicate_times import pooled_times
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.machine.cores import measuring_choices
from rnnbench.harness.machine.kept_pulse import KeptPulse
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.user_cache import private_folder

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


def quiet_core(device: str, threads: int) -> QuietCore | None:
    """Return the pulses beside calls on a device by so many threads of torch; None where they tell nothing."""
    if not devices.pulses_tell(device, threads):
        return None
    kept_pulse = KeptPulse(private_folder(), platform.python_version())
    best = kept_pulse.best_seconds()
    return QuietCore(Pulses(math.inf if best is None else best), measuring_choices(1)[:MAX_CHOICES], kept_pulse)


def round_times(plan: Turns, turns: Sequence[Clocked], pulses: Pulses | None) -> RoundTimes:
    """Return the times of a call from its turns in a round."""
    blocks = sorted(seconds / plan.calls for turn in turns for seconds in turn.batch_seconds)
    times = pooled_times([blocks], [len(blocks) * plan.calls], [sum(turn.seconds for turn in turns)])
    taken = [seconds for turn in turns for seconds in turn.pulses]
    if pulses is None or not taken:
        return RoundTimes(times.log_quantiles, times.mean)
    quiet = sorted(
        seconds / plan.calls
        for turn in turns
        for seconds, is_quiet in zip(turn.batch_seconds, pulses.quiet_blocks(turn.pulses), strict=True)
        if is_quiet
    )
    return RoundTimes(
        times.log_quantiles,
        times.mean,
        QuietBlocks.from_windows([low_parts(quiet)], [len(quiet)], [fmean(quiet)]) if quiet else None,
        pulses=len(taken),
        quiet_pulses=sum(map(pulses.is_quiet, taken)),
        best_pulse=pulses.best,
    )
