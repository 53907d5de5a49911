"""What only a GPU can show: memory of known size, and energy against power."""

import time

import pytest
import torch

from rnnbench.measure import energy, nvml
from rnnbench.measure.devices import Cuda
from rnnbench.measure.devices.cuda import Stream, _buffer
from rnnbench.measure.engine import calibrate
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.probes.calls import count

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver"),
]
MEGABYTE = 1 << 20


def block(size: int) -> TimedCall:
    return TimedCall(lambda: torch.empty(size, dtype=torch.uint8, device="cuda"), torch.inference_mode)


def test_a_known_block_is_the_allocators_peak() -> None:
    assert count(block(64 * MEGABYTE), torch.device("cuda")).peak_bytes == 64 * MEGABYTE
    assert Cuda("cuda").reserved_bytes(block(64 * MEGABYTE)) == 64 * MEGABYTE


def test_the_driver_accounts_at_least_the_pool_to_the_process_or_says_why_not() -> None:
    held = torch.empty(256 * MEGABYTE, dtype=torch.uint8, device="cuda")
    found = Cuda("cuda").memory(block(MEGABYTE))
    assert found.missing or found.values["process_bytes"] >= torch.cuda.memory_reserved()
    del held


def test_a_flush_writes_twice_what_the_cache_holds_and_is_not_clocked() -> None:
    device = Cuda("cuda")
    line, empty = Stream("cuda"), device.launch()
    cold = device.clock_cold(empty, calls=50)
    assert _buffer(torch.device("cuda")).nbytes >= 2 * torch.cuda.get_device_properties("cuda").L2_cache_size
    assert min(cold.batch_seconds) < min(device.clock(line.flush, 50, 1).batch_seconds)
    assert cold.seconds < cold.host_seconds


def test_energy_is_mean_power_times_time() -> None:
    device = Cuda("cuda")
    gpu = nvml.open_gpu(device.uuid() or "")
    meter = device.meter()
    left = torch.randn(4096, 4096, device="cuda")

    def call() -> None:
        left @ left

    plan = calibrate(device, call, 0.01)
    energy.per_call(meter, device, call, plan)  # warm, so that power stands still
    start, before, watts, calls = time.perf_counter(), meter.read(), [], 0
    while time.perf_counter() - start < 4:
        device.clock(call, plan.batches, plan.batch)
        calls += plan.calls
        watts.append(gpu.sample().values["power_watts"])
    joules = meter.joules(before, meter.read())
    assert joules == pytest.approx(sum(watts) / len(watts) * (time.perf_counter() - start), rel=0.1)
