"""The logic of CUDA's clock, on a device whose kernels take the time that the test says and run beside the host."""

from typing import Any

import pytest

from rnnbench.measure.devices import Cuda
from rnnbench.measure.engine import calibrate, take_window, warm_up
from tests.measure.fakes import FakeClock


class FakeLine:
    """A queue: the device starts a kernel when it is submitted and the one before it is done."""

    def __init__(self, most_queued: int = 10**9) -> None:
        self.host = FakeClock()
        self.done: list[float] = []  # when each kernel that was submitted is done
        self.most_queued = most_queued

    @property
    def free(self) -> float:
        return self.done[-1] if self.done else 0.0

    def launch(self, host_seconds: float, device_seconds: float) -> None:
        self.host.seconds += host_seconds
        waiting = [end for end in self.done[-self.most_queued :] if end > self.host.seconds]
        if len(waiting) >= self.most_queued:  # the queue is full: the host waits for its oldest kernel
            self.host.seconds = waiting[0]
        self.done.append(max(self.free, self.host.seconds) + device_seconds)

    def mark(self) -> "FakeMark":
        return FakeMark(self)

    def synchronize(self) -> None:
        self.host.seconds = max(self.host.seconds, self.free)


class FakeMark:
    def __init__(self, line: FakeLine) -> None:
        self.line = line

    def record(self) -> None:
        self.seconds = max(self.line.free, self.line.host.seconds)

    def seconds_until(self, later: "FakeMark") -> float:
        return later.seconds - self.seconds


def device(line: FakeLine) -> Cuda:
    queue: Any = line
    return Cuda("cuda", queue, line.host)


def call(line: FakeLine, kernels: int, host: float, gpu: float) -> Any:
    def launches() -> None:
        for _ in range(kernels):
            line.launch(host, gpu)

    return launches


def test_a_call_that_keeps_the_device_busy_is_clocked_without_the_hosts_time() -> None:
    line = FakeLine()
    found = device(line).clock(call(line, 10, 5e-6, 20e-6), batches=20, batch=1)
    assert found.batch_seconds == pytest.approx([200e-6] * 20)
    assert found.seconds == pytest.approx(20 * 200e-6)
    assert found.submit_seconds == pytest.approx(20 * 50e-6)
    # The call before them was still running, and had been queued, when the host's clock started.
    assert found.host_seconds == pytest.approx(found.seconds + 200e-6 - 50e-6, rel=0.01)


def test_a_call_that_the_host_can_not_queue_fast_enough_takes_the_hosts_time_and_shows_it() -> None:
    line = FakeLine()
    found = device(line).clock(call(line, 10, 20e-6, 5e-6), batches=20, batch=1)
    assert found.seconds == pytest.approx(20 * 200e-6, rel=0.01)
    assert found.submit_seconds / found.host_seconds > 0.99


def test_a_full_queue_does_not_look_like_a_host_that_lags() -> None:
    line = FakeLine(most_queued=1000)
    found = device(line).clock(call(line, 1000, 2e-6, 4e-6), batches=10, batch=1)
    assert found.seconds == pytest.approx(10 * 4e-3, rel=0.01)
    assert found.submit_seconds / found.host_seconds < 0.95


def test_the_first_launch_does_not_leak_into_the_first_batch() -> None:
    line = FakeLine()
    found = device(line).clock(call(line, 1, 10e-6, 50e-6), batches=3, batch=1)
    assert found.batch_seconds[0] == pytest.approx(found.batch_seconds[1])


@pytest.mark.parametrize(("host", "gpu", "truth"), [(5e-6, 20e-6, 200e-6), (20e-6, 5e-6, 200e-6)])
def test_the_engine_finds_the_time_of_a_call_on_a_device_that_runs_beside_the_host(
    host: float, gpu: float, truth: float
) -> None:
    line = FakeLine()
    work = call(line, 10, host, gpu)
    plan = calibrate(device(line), work, 0.01)
    assert plan.calls == pytest.approx(50, abs=3)
    warm_up(device(line), work, plan)
    reading = take_window(device(line), work, plan)
    assert reading.quantiles[0] == pytest.approx(truth, rel=0.01)
    assert reading.quantiles[-1] == pytest.approx(truth, rel=0.01)


def test_what_goes_wrong_on_the_device_shows_when_it_is_waited_for() -> None:
    class Lost(FakeLine):
        def synchronize(self) -> None:
            if self.done:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")

    line = Lost()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        device(line).clock(call(line, 1, 1e-6, 1e-6), batches=1, batch=1)
