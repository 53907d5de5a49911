"""The logic of CUDA's clock, on a device whose kernels take the time that the test says and run beside the host."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rnnbench.measure.devices import Card, Cuda
from rnnbench.measure.devices.time_line import Stream
from rnnbench.measure.engine import calibrate, take_window, warm_up
from rnnbench.workloads.phases import TimedCall
from tests.measure.fakes import FakeClock

FLUSH_SECONDS = 60e-6


class FakeLine:
    """A queue: the device starts a kernel when it is submitted and the one before it is done."""

    def __init__(self, most_queued: int = 10**9) -> None:
        self.host = FakeClock()
        self.done: list[float] = []  # when each kernel that was submitted is done
        self.most_queued = most_queued
        self.is_cold = False
        self.flushes = 0

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

    def flush(self) -> None:
        self.launch(3e-6, FLUSH_SECONDS)
        self.is_cold = True
        self.flushes += 1

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


def cold_call(line: FakeLine, kernels: int, host: float, gpu: float) -> Any:
    """Kernels of which each takes twice as long where the cache was flushed since the last call."""

    def launches() -> None:
        for _ in range(kernels):
            line.launch(host, gpu * (2 if line.is_cold else 1))
        line.is_cold = False

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


def test_every_cold_call_has_a_flush_before_it_whose_time_is_not_the_calls() -> None:
    line = FakeLine()
    found = device(line).clock_cold(cold_call(line, 10, 5e-6, 20e-6), calls=20)
    assert line.flushes == len(found.batch_seconds) == 20
    assert found.batch_seconds == pytest.approx([400e-6] * 20)
    assert found.seconds == pytest.approx(20 * 400e-6)
    assert found.host_seconds >= found.seconds + 20 * FLUSH_SECONDS


def test_a_cold_call_that_the_host_can_not_queue_fast_enough_gains_nothing_by_the_flush() -> None:
    line = FakeLine()
    found = device(line).clock_cold(cold_call(line, 10, 20e-6, 2e-6), calls=20)
    # While the device flushed for 60 us, the host was queueing: by the device's marks a call would take 140 us.
    assert found.batch_seconds == pytest.approx([200e-6] * 20)
    assert 0.95 < found.submit_seconds / found.host_seconds < 1


def test_a_host_that_waits_for_cold_calls_is_not_taken_for_one_that_lags() -> None:
    line = FakeLine()
    found = device(line).clock_cold(cold_call(line, 10, 5e-6, 20e-6), calls=20)
    assert found.submit_seconds / found.host_seconds < 0.3


def test_a_cold_window_of_a_device_is_one_call_a_block_and_lasts_with_its_flushes_as_long_as_asked() -> None:
    line = FakeLine()
    work = cold_call(line, 10, 5e-6, 20e-6)
    plan = calibrate(device(line), work, 0.01, cold=True)
    assert (plan.batch, plan.cold) == (1, True)
    assert plan.seconds == pytest.approx(plan.calls * 400e-6)
    warm_up(device(line), work, plan)
    before = line.flushes
    reading = take_window(device(line), work, plan)
    assert line.flushes - before == plan.batches
    assert reading.quantiles == pytest.approx([400e-6] * len(reading.quantiles))
    assert reading.host_seconds == pytest.approx(0.01, rel=0.1)


def test_what_goes_wrong_on_the_device_shows_when_it_is_waited_for() -> None:
    class Lost(FakeLine):
        def synchronize(self) -> None:
            if self.done:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")

    line = Lost()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        device(line).clock(call(line, 1, 1e-6, 1e-6), batches=1, batch=1)


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_the_first_gpu_is_meant_where_no_number_is_given(
    monkeypatch: pytest.MonkeyPatch, name: str, index: int
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)  # all else is torch's own
    Stream(name)
    assert chosen == [index]


@pytest.mark.parametrize(
    ("name", "gpus", "cards"),
    [
        ("cuda", 1, [Card("GPU 0", "uuid-0", {})]),
        (
            "cuda",
            2,
            [
                Card("GPU 0", "uuid-0", {"CUDA_VISIBLE_DEVICES": "GPU-uuid-0"}),
                Card("GPU 1", "uuid-1", {"CUDA_VISIBLE_DEVICES": "GPU-uuid-1"}),
            ],
        ),
        ("cuda:1", 2, [Card("GPU 1", "uuid-1", {})]),
    ],
)
def test_cuda_stands_for_all_gpus_that_are_seen_and_a_number_for_one(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, cards: list[Card]
) -> None:
    def properties(device: torch.device) -> Any:
        return SimpleNamespace(name=f"GPU {device.index}", uuid=f"uuid-{device.index}")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    queue: Any = FakeLine()
    assert Cuda(name, queue).cards() == cards


@pytest.mark.parametrize(
    "fault", [RuntimeError("CUDA error: unknown error\nmore"), AssertionError("Invalid device id")]
)
def test_a_lost_gpu_does_not_keep_a_worker_from_starting(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def lost(index: int) -> str:
        raise fault

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lost)
    assert Cuda.about()["gpus"] == [f"not told: {str(fault).splitlines()[0]}"]


def test_a_cudnn_that_torch_was_not_built_with_does_not_keep_a_worker_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mixed() -> int:
        raise RuntimeError("cuDNN version incompatibility: PyTorch was compiled against (9, 10, 2)\nmore")

    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", mixed)
    told = Cuda.about()["cudnn"]
    assert told == "not told: cuDNN version incompatibility: PyTorch was compiled against (9, 10, 2)"


def test_the_history_of_the_allocator_is_of_one_call_and_is_turned_off_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []
    memory: Any = torch.cuda.memory
    monkeypatch.setattr(
        memory, "_record_memory_history", lambda **how: done.append("off" if "enabled" in how else "on")
    )
    monkeypatch.setattr(memory, "_dump_snapshot", lambda file: done.append(Path(file).name))
    line: Any = FakeLine()
    cuda = Cuda("cuda", line=line)
    timed = TimedCall(lambda: done.append("call"), torch.inference_mode)
    assert cuda.snapshot(timed, tmp_path / "memory.pickle")
    assert done == ["call", "on", "call", "memory.pickle", "off"]

    def breaks() -> None:
        done.append("call")
        if done.count("call") == 4:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        cuda.snapshot(TimedCall(breaks, torch.inference_mode), tmp_path / "memory.pickle")
    assert done[-1] == "off"
