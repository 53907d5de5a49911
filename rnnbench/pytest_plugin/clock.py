"""How pytest-benchmark comes to read the device's clock.

It calls a function in a loop and looks at a timer before and after. A timer of the host is wrong for a device that is
only given work, and one that waits for the device at every look makes it idle between rounds. So the engine clocks
windows of back-to-back calls, as in `rnnbench run`, and what pytest-benchmark calls hands one block after another over
to it: the timer that it looks at goes on by the block's time, and stands still while the next window is clocked.
"""

from collections import deque
from collections.abc import Callable, Sequence

TakeWindow = Callable[[], Sequence[float]]


class BlockClock:
    """Reads what its blocks have spent, in seconds."""

    __name__ = "rnnbench"  # pytest-benchmark's files name the timer by it

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


class BenchmarkBlocks:
    """What pytest-benchmark calls in place of a case: `rounds * batch` times for the clock, then for the case."""

    def __init__(
        self, clock: BlockClock, window: TakeWindow, rounds: int, batch: int, call: Callable[[], object]
    ) -> None:
        """`window` gives the seconds of each block of a new window, a block being `batch` calls of the case."""
        self.taken: list[float] = []  # seconds of each block that was handed over
        self._clock = clock
        self._window = window
        self._left = rounds * batch
        self._batch = batch
        self._call = call
        self._waiting: deque[float] = deque()

    def __call__(self) -> object:
        """Let the clock go on by a call's share of its block."""
        if not self._left:
            return self._call()  # for its result, or for the profiler
        if self._left % self._batch == 0:
            if not self._waiting:
                self._waiting.extend(self._window())
            self.taken.append(self._waiting.popleft())
        self._left -= 1
        self._clock.seconds += self.taken[-1] / self._batch
        return None
