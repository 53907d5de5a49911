"""Other devices of torch, by a fake of `torch.accelerator` over the processor: clock, memory, what is refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rnnbench.harness.devices import Accelerator, accelerator
from rnnbench.harness.devices.self_test import clock_fault
from rnnbench.harness.turns.schedule import calibrate, warm_up
from rnnbench.store.metrics import Unavailable
from rnnbench.workloads.phases import TimedCall
from tests.doubles.fake_cuda import FakeLine, kernels

NOTICE_SECONDS = 40e-6  # that the host takes to notice the end of the work


class FakeModule:
    """`torch.accelerator` of a device with a queue; the host notices late that the work is done."""

    def __init__(self, line: FakeLine) -> None:
        self.line = line
        self.index: int | None = None
        self.reserved = self.peak = 0
        self.refuses = False

    def device_count(self) -> int:
        return 2

    def current_accelerator(self) -> Any:
        return SimpleNamespace(type="cpu")

    def set_device_index(self, index: int) -> None:
        self.index = index

    def synchronize(self) -> None:
        self.line.synchronize()
        self.line.host.seconds += NOTICE_SECONDS

    def get_memory_info(self) -> tuple[int, int]:
        return 1, 16 << 30

    def memory_reserved(self) -> int:
        if self.refuses:
            raise RuntimeError("Allocator for mps is not a DeviceAllocator")
        return self.reserved

    def max_memory_reserved(self) -> int:
        return self.peak

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.reserved

    def empty_cache(self) -> None:
        self.reserved = 0


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> FakeModule:
    fake = FakeModule(FakeLine())
    monkeypatch.setattr(torch, "accelerator", fake)
    monkeypatch.setattr(accelerator, "BUFFER_BYTES", 1 << 10)
    monkeypatch.setattr(Accelerator, "is_open", False)  # as before once the fake is gone
    accelerator._buffer.cache_clear()
    return fake


def opened(module: FakeModule) -> Accelerator:
    device = Accelerator("cpu:1", now=module.line.host)
    assert module.index == 1
    return device


@pytest.mark.parametrize(("host", "gpu"), [(5e-6, 20e-6), (20e-6, 5e-6)])
def test_a_block_lasts_until_the_device_is_idle_again(module: FakeModule, host: float, gpu: float) -> None:
    clocked = opened(module).clock(kernels(module.line, 100, host, gpu), batches=3, batch=4)
    slower = 4 * 100 * max(host, gpu)
    assert clocked.batch_seconds == pytest.approx([slower + NOTICE_SECONDS] * 3, rel=0.01)
    assert clocked.seconds == pytest.approx(sum(clocked.batch_seconds))
    assert clocked.host_seconds == pytest.approx(clocked.seconds)
    assert clocked.submit_seconds == pytest.approx(3 * 4 * 100 * host, rel=0.01)
    assert clocked.calls == 13


def test_the_unclocked_call_is_over_before_the_clock_starts_and_left_out_where_calls_are_warm(
    module: FakeModule,
) -> None:
    device = opened(module)
    made = list[int]()
    launch = kernels(module.line, 1, 1e-6, 1e-3)

    def call() -> None:
        made.append(1)
        launch()

    assert device.clock(call, 1, 1).seconds == pytest.approx(1e-3, rel=0.05)
    assert device.clock(call, 1, 2, is_warm=True).calls == 2
    assert len(made) == 4


def test_a_flush_before_a_cold_call_is_over_before_the_call_starts(module: FakeModule) -> None:
    device = opened(module)
    line = module.line
    device.flush = line.flush  # type: ignore[method-assign]
    clocked = device.clock_cold(kernels(line, 10, 5e-6, 20e-6, cold=2), calls=5)
    assert line.flushes == 6
    assert clocked.batch_seconds == pytest.approx([10 * 40e-6 + 5e-6 + NOTICE_SECONDS] * 5, rel=0.02)


def test_calls_are_planned_in_blocks_in_which_waiting_counts_for_little(module: FakeModule) -> None:
    device = opened(module)
    call = kernels(module.line, 10, 1e-6, 20e-6)
    plan = calibrate(device, call, 0.01)
    warm_up(device, call, plan)
    clocked = device.clock(call, plan.batches, plan.batch)
    assert clocked.seconds / plan.calls == pytest.approx(200e-6, rel=0.015)


def test_a_device_of_another_kind_or_number_is_refused_in_words(module: FakeModule) -> None:
    assert Accelerator.why_not("cpu") == Accelerator.why_not("cpu:1") == ""
    assert Accelerator.why_not("xpu") == f"torch {torch.__version__} finds no device of the kind 'xpu'"
    assert Accelerator.why_not("cpu:2") == "no device 'cpu:2': there are cpu:0 to cpu:1"


def test_memory_is_that_of_the_allocator_or_missing_with_the_reason(
    module: FakeModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = opened(module)
    assert device.memory_bytes == 16 << 30

    def call() -> None:
        module.reserved += 1 << 20
        module.peak = max(module.peak, module.reserved)

    assert device.memory(TimedCall(call, torch.inference_mode)).values == {"reserved_bytes": 1 << 20}
    module.refuses = True
    [reason] = device.memory(TimedCall(call, torch.inference_mode)).missing.values()
    assert reason == "torch does not tell the memory of cpu:1: Allocator for mps is not a DeviceAllocator"
    with pytest.raises(Unavailable, match="cpu:1 has no counter of energy"):
        device.meter()


def test_torch_before_2_10_tells_no_memory_and_nothing_else_is_missing(
    module: FakeModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("memory_reserved", "max_memory_reserved", "reset_peak_memory_stats", "empty_cache", "get_memory_info"):
        monkeypatch.delattr(FakeModule, name)
    device = opened(module)
    assert device.memory_bytes == accelerator.UNKNOWN_MEMORY_BYTES
    [reason] = device.memory(TimedCall(lambda: None, torch.inference_mode)).missing.values()
    assert reason.startswith("torch does not tell the memory of cpu:1: ")
    Accelerator.empty_cache()
    assert device.clock(kernels(module.line, 1, 1e-6, 1e-3), 1, 1).seconds == pytest.approx(1e-3, rel=0.05)


def test_an_error_of_the_case_is_no_missing_memory(module: FakeModule) -> None:
    def call() -> None:
        raise RuntimeError("of the case")

    with pytest.raises(RuntimeError, match="of the case"):
        opened(module).memory(TimedCall(call, torch.inference_mode))


def test_a_clock_that_does_not_wait_for_the_device_is_found_by_twice_the_work(module: FakeModule) -> None:
    device = opened(module)

    def work(times: int) -> Any:
        return kernels(module.line, 1, 5e-6, times * 1e-3)

    assert clock_fault(device, work) == ""
    device.synchronize = lambda: None  # type: ignore[method-assign]
    assert clock_fault(device, work) == "the clock of cpu:1 can't be trusted: twice the work took 1.00 times as long"
    device._now = lambda: 1.0
    assert "stands still: 100 products took no time" in clock_fault(device, work)
