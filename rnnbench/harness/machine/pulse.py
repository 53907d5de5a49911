"""Tell whether another hyperthread uses the core, which no counter of the system shows.

A pulse is a fixed piece of work that fits the smallest caches. It takes as long as at its best while the core is quiet,
and 1.5 to 2 times as long while a stranger's hyperthread shares the core. The state may change every 0.1 to 3 ms.
A block of calls is quiet if the pulses before and after it are.

Times are not divided by pulses: how much sharing slows a call depends on the call.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

PULSE_LOOPS = 250  # some 4 to 8 us
# The work is done twice and the second time counts. A call of milliseconds has driven the work and the clock's own code
# out of the caches: the first loops after it take four to seven times as long as later ones.
PASSES = 2
# While the core is shared, a pulse takes 1.45 times as long as a quiet one or more. Quiet ones differ by up to 20%.
QUIET_FACTOR = 1.28  # times the level
# The level is that of the newest quiet pulses: the clock rate depends on the calls before them and on the load of the
# whole processor, so a quiet pulse may take 1.3 times as long as the best one that was ever seen. What takes longer is
# a shared core, even if no newer pulse was faster.
SLOWEST_CLOCK = 1.3  # times the best pulse
# The level follows from the pulse that 5% of the newest are faster than: the fastest quiet ones take a little less.
LEVEL_SHARE = 0.05
ABOVE_LEVEL = 1.06
NEWEST = 400  # pulses that the level is of
FEWEST_PULSES = 64  # with fewer it is the best pulse
RENEWED = 32  # pulses after which the level is found anew
AFTER_A_BLOCK = 1.03  # times as long as another pulse, for what the caches still lack
MAX_WAIT_SECONDS = 3e-3  # for a quiet pulse before a turn
MAX_IN_VAIN = 5  # waits one after another; from then on only every eighth turn waits
SELDOM = 8
LEVEL_PULSES = 400  # pulses on each core, of which the quiet ones are counted


def pulse(now: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of a fixed piece of work in warm caches, whatever was called before."""
    seconds = math.inf
    for _ in range(PASSES):
        total = 0
        start = now()
        for number in range(PULSE_LOOPS):
            total += number
        seconds = now() - start
    return seconds


class Pulses:
    """Takes pulses and compares each with the best one so far."""

    def __init__(self, best: float = math.inf, take: Callable[[], float] = pulse) -> None:
        """`best`: seconds of the best pulse that is known of this machine and interpreter."""
        self.best = best
        self._take = take
        self.quiet_share: float | None = None  # of the pulses that `quietest` took last on the cores that it chose
        self._in_vain = 0  # turns since the last quiet pulse that one waited for
        self._newest = deque[float](maxlen=NEWEST)
        self._since_level = 0  # pulses taken since the level was found
        self._level = math.inf

    def take(self) -> float:
        """Return the seconds of a pulse, which may be the best one from now on."""
        seconds = self._take()
        self.best = min(self.best, seconds)
        self._newest.append(seconds)
        self._since_level += 1
        return seconds

    @property
    def level(self) -> float:
        """The seconds of a quiet pulse at the clock rate of now; not less than the best pulse."""
        if len(self._newest) < FEWEST_PULSES:
            return self.best
        if self._since_level >= RENEWED:
            self._level = sorted(self._newest)[int(LEVEL_SHARE * len(self._newest))] / ABOVE_LEVEL
            self._since_level = 0
        return self._level if self.best < self._level < SLOWEST_CLOCK * self.best else self.best

    def is_quiet(self, seconds: float) -> bool:
        """Return True if a pulse of so many seconds is a quiet one."""
        return seconds < QUIET_FACTOR * self.level

    def wait(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Take pulses until one is quiet, for `MAX_WAIT_SECONDS` at most; seldom if the core has long been shared."""
        self._in_vain += 1
        if self._in_vain > MAX_IN_VAIN and self._in_vain % SELDOM:
            return
        end = now() + MAX_WAIT_SECONDS
        while now() < end:
            if self.is_quiet(self.take()):
                self._in_vain = 0
                return

    def quiet_blocks(self, taken: Sequence[float]) -> list[bool]:
        """Return whether each block of a turn is quiet, from the pulses before, between and after the blocks."""
        return [self.is_quiet(before) and self.is_quiet(after / AFTER_A_BLOCK) for before, after in pairwise(taken)]

    def look(self) -> float:
        """Return the share of quiet pulses on this core now, from so many that it takes some milliseconds."""
        seconds = [self.take() for _ in range(LEVEL_PULSES)]
        return sum(map(self.is_quiet, seconds)) / LEVEL_PULSES

    def quietest(self, choices: Iterable[Sequence[int]], now: Callable[[], float] = time.perf_counter) -> Sequence[int]:
        """Return the cores that are quiet most often now, among equal choices; the first choice if there is only one.

        What counts are quiet pulses in a second: a core that other processes use gives fewer of them, too, though each
        may be quiet. The calling thread is moved to each core for some milliseconds, and then put back.
        """
        choices = list(choices)
        if len(choices) < 2:
            return choices[0]
        before = os.sched_getaffinity(0)
        taken = list[list[float]]()
        lasted = list[float]()
        try:
            for cores in choices:
                begun = now()
                os.sched_setaffinity(0, cores)
                taken.append([self.take() for _ in range(LEVEL_PULSES)])
                lasted.append(now() - begun)
        finally:
            os.sched_setaffinity(0, before)
        quiet = [sum(map(self.is_quiet, seconds)) for seconds in taken]
        rates = [number / seconds for number, seconds in zip(quiet, lasted, strict=True)]
        best = rates.index(max(rates))
        self.quiet_share = quiet[best] / LEVEL_PULSES
        self._newest.clear()
        self._newest.extend(taken[best])
        self._since_level = RENEWED
        return choices[best]
