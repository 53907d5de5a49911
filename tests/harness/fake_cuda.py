"""A CUDA device on a clock that the test winds. It behaves as driver and card do wherever a clock can go wrong:

- the device starts a kernel when it was submitted and the one before it is done;
- the launch queue is bounded: the host waits while it is full;
- an event is created when it is recorded for the first time, which takes the host's time.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from rnnbench.harness.devices import Cuda
from tests.harness.fakes import FakeClock

FLUSH_SECONDS = 60e-6
QUEUE = 1024  # launches that CUDA queues before it lets the host wait
CREATE_SECONDS = 15e-6  # of the host, to create an event


class FakeLine:
    """The queue of a device; `launch` is what a kernel's launch does."""

    def __init__(self, queue: int = QUEUE, mark: "type[FakeMark] | None" = None) -> None:
        self.host = FakeClock()
        self.free = 0.0  # when the device is done with all that was submitted
        self.is_cold = False
        self.launches = self.flushes = 0
        self.busy_seconds = 0.0  # that the device has worked, or will have
        self._queue = queue
        self._mark = mark or FakeMark
        self._waiting: deque[float] = deque()  # when each of the last launches is done

    def launch(self, host_seconds: float, device_seconds: float) -> None:
        """Submit a kernel: the host's time for it, and the device's."""
        self.host.seconds += host_seconds
        while self._waiting and self._waiting[0] <= self.host.seconds:
            self._waiting.popleft()
        if len(self._waiting) >= self._queue:
            self.host.seconds = self._waiting.popleft()
        self.free = max(self.free, self.host.seconds) + device_seconds
        self._waiting.append(self.free)
        self.launches += 1
        self.busy_seconds += device_seconds

    def mark(self) -> "FakeMark":
        """An event that does not exist yet."""
        return self._mark(self)

    def flush(self) -> None:
        """Empty the cache."""
        self.launch(3e-6, FLUSH_SECONDS)
        self.is_cold = True
        self.flushes += 1

    def hold(self, seconds: float) -> None:
        """Keep the device busy."""
        self.launch(3e-6, seconds)

    def synchronize(self) -> None:
        """Wait for the device."""
        self.host.seconds = max(self.host.seconds, self.free)


class FakeMark:
    """An event."""

    def __init__(self, line: FakeLine) -> None:
        self._line = line
        self._exists = False
        self.seconds = float("nan")

    def record(self) -> None:
        """Queue it; the first time it is created, too."""
        if not self._exists:
            self._line.host.seconds += CREATE_SECONDS
            self._exists = True
        self.seconds = max(self._line.free, self._line.host.seconds)

    def seconds_until(self, later: "FakeMark") -> float:
        """The device's time."""
        return later.seconds - self.seconds


def fake_cuda(line: FakeLine) -> Cuda:
    """rnnbench's own class over the fake queue, with the fake host's clock."""
    queue: Any = line
    return Cuda("cuda", queue, line.host)


def kernels(line: FakeLine, count: int, host: float, gpu: float, last: float = 0.0) -> Callable[[], None]:
    """A call that launches so many kernels of `gpu` seconds in `host` seconds each, and one of `last` seconds."""

    def call() -> None:
        for _ in range(count):
            line.launch(host, gpu)
        if last:
            line.launch(host, last)

    return call


def cold_kernels(line: FakeLine, count: int, host: float, gpu: float) -> Callable[[], None]:
    """The same, where each kernel takes twice as long if the cache was flushed since the last call."""

    def call() -> None:
        for _ in range(count):
            line.launch(host, gpu * (2 if line.is_cold else 1))
        line.is_cold = False

    return call
