"""How pytest-benchmark reads the device's clock.

pytest-benchmark calls a function in a loop and reads a timer before and after. A timer of the host is wrong for a
device that only queues work, and a timer that waits for the device leaves it idle between rounds. So the engine clocks
windows of back-to-back calls, as in `rnnbench run`, and the function that pytest-benchmark calls hands over one block
after another: it advances the timer by the block's time, and the timer stands still while the next window is clocked.
"""

from collections import deque
from collections.abc import Callable, Sequence

TakeWindow = Callable[[], Sequence[float]]


class BlockClock:
    """A timer that reads the total time of its blocks, in seconds."""

    __name__ = "rnnbench"  # pytest-benchmark's files name the timer by it

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.seconds


class BenchmarkBlocks:
    """What pytest-benchmark calls in place of a case: `rounds * batch` calls set the clock, later ones run it."""

    def __init__(
        self, clock: BlockClock, window: TakeWindow, rounds: int, batch: int, call: Callable[[], object]
    ) -> None:
        """`window` clocks a new window and returns the seconds of each block; a block is `batch` calls of the case."""
        self.taken: list[float] = []  # seconds of each block that was handed over
        self._clock = clock
        self._window = window
        self._left = rounds * batch
        self._batch = batch
        self._call = call
        self._waiting: deque[float] = deque()

    def __call__(self) -> object:
        """Advance the clock by a call's share of its block."""
        if not self._left:
            return self._call()  # for its result, or for the profiler
        if self._left % self._batch == 0:
            if not self._waiting:
                self._waiting.extend(self._window())
            self.taken.append(self._waiting.popleft())
        self._left -= 1
        self._clock.seconds += self.taken[-1] / self._batch
        return None
