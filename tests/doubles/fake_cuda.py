"""A CUDA device on a fake clock. It behaves like driver and card in all that can make a measurement of time wrong:

- the device starts a kernel once it is submitted and the kernel before it is done;
- the launch queue is bounded: the host waits while it is full;
- an event has a place in the queue, is created when it is first recorded, which takes host time, and can't be read
  before the device has come to it;
- an event does not wait for other streams, the wait for the device does;
- torch's profiler slows the host down, sees the kernels of all streams, and named ranges as if they were kernels;
- a kernel that holds the device counts cycles, so it lasts as long as the card's clock says: seldom as long as asked.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

from torch._C._autograd import DeviceType

from rnnbench.harness.devices import Cuda
from tests.doubles.fakes import FakeClock

FLUSH_SECONDS = 60e-6
QUEUE = 1024  # launches and events that CUDA queues before the host has to wait
HERTZ = 1.755e9  # of the card's clock
NOT_READY = "CUDA error: device not ready"
CREATE_SECONDS = 15e-6  # host time to create an event
SPIN_OVERHEAD = 1.5e-6  # device time of a kernel that counts no cycles


class FakeLine:
    """The queue of a device; `launch` submits a kernel."""

    def __init__(self, mark: "type[FakeMark] | None" = None) -> None:
        self.host = FakeClock()
        self.free = 0.0  # when the device is done with everything submitted
        self.is_cold = False
        self.flushes = 0
        self.busy_seconds = 0.0  # the device's working time, submitted kernels included
        self._mark = mark or FakeMark
        self.hertz = HERTZ
        self.has_cupti = True
        self.slowdown = 1.0  # of launches
        self.spans: list[tuple[float, float]] = []  # of all kernels
        self.aside = 0.0  # when another stream is done, which events of this one do not wait for
        self._waiting: deque[float] = deque()  # the times at which the last launches are done

    def launch(self, host_seconds: float, device_seconds: float) -> None:
        """Submit a kernel that takes host time to launch and device time to run."""
        self.host.seconds += host_seconds * self.slowdown
        self._take_place(device_seconds)
        self.spans.append((self.free - device_seconds, self.free))
        self.busy_seconds += device_seconds

    def launch_aside(self, host_seconds: float, device_seconds: float) -> None:
        """Submit a kernel to another stream, which nobody joins."""
        self.host.seconds += host_seconds
        self.aside = max(self.aside, self.host.seconds) + device_seconds
        self.spans.append((self.aside - device_seconds, self.aside))

    def stamp(self) -> float:
        """Put an event into the queue; returns when the device comes to it."""
        self._take_place(0.0)
        return self.free

    def _take_place(self, device_seconds: float) -> None:
        while self._waiting and self._waiting[0] <= self.host.seconds:
            self._waiting.popleft()
        if len(self._waiting) >= QUEUE:
            self.host.seconds = self._waiting.popleft()
        self.free = max(self.free, self.host.seconds) + device_seconds
        self._waiting.append(self.free)

    def mark(self) -> "FakeMark":
        """An event that is not created yet."""
        return self._mark(self)

    def flush(self) -> None:
        """Empty the cache."""
        self.launch(3e-6, FLUSH_SECONDS)
        self.is_cold = True
        self.flushes += 1

    def spin(self, cycles: int) -> None:
        """Keep the device busy for so many cycles of its clock."""
        self.launch(3e-6, SPIN_OVERHEAD + cycles / self.hertz)

    def synchronize(self) -> None:
        """Wait for the device."""
        self.host.seconds = max(self.host.seconds, self.free, self.aside)


class FakeMark:
    """An event."""

    def __init__(self, line: FakeLine) -> None:
        self._line = line
        self._exists = False
        self.seconds = float("nan")

    def record(self) -> None:
        """Queue the event; the first call also creates it."""
        if not self._exists:
            self._line.host.seconds += CREATE_SECONDS
            self._exists = True
        self.seconds = self._line.stamp()

    def query(self) -> bool:
        """Whether the device has come to it."""
        return self.seconds <= self._line.host.seconds

    def synchronize(self) -> None:
        """Wait until the device has come to it."""
        self._line.host.seconds = max(self._line.host.seconds, self.seconds)

    def elapsed_time(self, later: "FakeMark") -> float:
        """Milliseconds of the device until a later event; raises RuntimeError before the device has come to it."""
        if not (self.query() and later.query()):
            raise RuntimeError(NOT_READY)
        return 1e3 * (later.seconds - self.seconds)


class FakeProfile:
    """torch's profiler of a card; `profiler` and `kineto_results` are itself, as the one has the other."""

    def __init__(self, line: FakeLine) -> None:
        self._line = line
        self._first = len(line.spans)
        self.profiler = self.kineto_results = self

    def __enter__(self) -> "FakeProfile":
        self._line.slowdown = 5.0
        return self

    def __exit__(self, *_: object) -> None:
        self._line.slowdown = 1.0

    def events(self) -> list[Any]:
        """The kernels since, a range that has a name, and an operator of the host."""
        spans = self._line.spans[self._first :] if self._line.has_cupti else []
        if not spans:
            return []
        whole = spans[0][0], spans[-1][1]
        of_host = [_event(whole, DeviceType.CPU), _event(whole, DeviceType.CUDA, is_range=True)]
        return [*of_host, *(_event(span, DeviceType.CUDA) for span in spans)]


def _event(span: tuple[float, float], kind: DeviceType, *, is_range: bool = False) -> Any:
    start, end = (round(1e9 * seconds) for seconds in span)
    return Mock(
        **{
            "start_ns.return_value": start,
            "duration_ns.return_value": end - start,
            "device_type.return_value": kind,
            "is_user_annotation.return_value": is_range,
        }
    )


class FakeCuda(Cuda):
    """rnnbench's `Cuda` over the fake queue, with the fake host's clock."""

    def __init__(self, line: FakeLine) -> None:
        self.name = "cuda"
        self.uuid = "fake"
        self._memory_bytes = 1 << 40
        self._now = line.host
        self.ranges: list[str] = []  # that profilers would show
        of_line: Any = line.mark, line.spin, line.flush, line.synchronize
        self.event, self.spin, self.flush, self.synchronize = of_line  # type: ignore[method-assign]

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """Keep the name."""
        self.ranges.append(name)
        yield


def kernels(
    line: FakeLine, count: int, host: float, gpu: float, last: float = 0.0, cold: float = 1.0
) -> Callable[[], None]:
    """A call of `count` kernels, each `host` seconds to launch and `gpu` seconds to run, and one of `last` seconds.

    `cold`: how many times as long a kernel takes if the cache was flushed since the last call.
    """

    def call() -> None:
        for _ in range(count):
            line.launch(host, gpu * (cold if line.is_cold else 1.0))
        if last:
            line.launch(host, last)
        line.is_cold = False

    return call
