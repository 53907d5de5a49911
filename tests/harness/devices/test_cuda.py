"""CUDA's clock on a device whose kernel times the test sets and whose kernels run beside the host, and on a GPU.

Tests on a GPU: clocks, memory of known size, right cells against cuDNN, cases that break one.
`tests/gpu/test_truth.py` compares the same instruments with other tools, which takes minutes.
"""

import gc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from rnnbench.harness.devices import Cuda, nvml
from rnnbench.harness.devices.cuda import LEAD_CALLS, _buffer
from rnnbench.harness.machine import global_state
from rnnbench.store.folder import RunFolder
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from rnnbench.workloads.observe import _check_parity, count
from rnnbench.workloads.parity import allowed
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FLUSH_SECONDS, FakeCuda, FakeLine, kernels
from tests.doubles.fakes import run_into
from tests.doubles.stored import rows
from tests.doubles.visits import operations


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> FakeLine:
    line = FakeLine()

    def set_sync_debug_mode(mode: str) -> None:
        line.refuses_to_wait = mode == "error"

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_sync_debug_mode)
    return line


@pytest.mark.parametrize(("host", "gpu"), [(5e-6, 20e-6), (20e-6, 5e-6)])
def test_a_call_takes_the_devices_time_or_that_of_a_host_which_queues_it_more_slowly(
    line: FakeLine, host: float, gpu: float
) -> None:
    clocked = FakeCuda(line).clock(kernels(line, 10, host, gpu), batches=20, batch=1)
    assert clocked.batch_seconds == pytest.approx([200e-6] * 20, rel=0.01)
    assert clocked.seconds == pytest.approx(20 * 200e-6, rel=0.01)
    assert clocked.submit_seconds == pytest.approx(20 * 10 * host, rel=0.01)
    assert (clocked.submit_seconds / clocked.host_seconds > 0.99) == (host > gpu)


def test_events_are_created_before_the_clock_starts(line: FakeLine) -> None:
    clocked = FakeCuda(line).clock(kernels(line, 1, 5e-6, 1e-6), batches=20, batch=10)
    assert clocked.batch_seconds == pytest.approx([50e-6] * 20)  # the host's time for ten launches
    assert clocked.submit_seconds == pytest.approx(20 * 50e-6)
    cold = FakeCuda(line).clock_cold(kernels(line, 10, 20e-6, 2e-6), calls=5)
    assert cold.batch_seconds == pytest.approx([200e-6] * 5)


def test_the_devices_own_time_of_a_launch_bound_call_is_without_the_host(line: FakeLine) -> None:
    call = TimedCall(kernels(line, 100, host=20e-6, gpu=5e-6), torch.inference_mode)
    assert FakeCuda(line).clock(call.call, 5, 1).batch_seconds[0] == pytest.approx(100 * 20e-6, rel=0.02)
    assert FakeCuda(line).device_seconds(call) == pytest.approx(100 * 5e-6)


def test_a_call_that_does_not_fit_into_the_queue_is_found_at_once(line: FakeLine) -> None:
    calls = 0
    launch = kernels(line, 3000, host=20e-6, gpu=5e-6)

    def call() -> None:
        nonlocal calls
        calls += 1
        launch()

    with pytest.raises(Unavailable, match="do not fit into the device's queue"):
        FakeCuda(line).device_seconds(TimedCall(call, torch.inference_mode))
    assert calls == (1 + LEAD_CALLS) + (1 + 1) + 1  # their least time; one behind a held device; does it wait?


def test_a_call_that_reads_a_value_back_has_a_reason_of_its_own(line: FakeLine) -> None:
    launch = kernels(line, 10, host=20e-6, gpu=5e-6)

    def call() -> None:
        launch()
        line.read_back()

    with pytest.raises(Unavailable, match="the call waits for the device, as one does that reads a value back"):
        FakeCuda(line).device_seconds(TimedCall(call, torch.inference_mode))
    assert not line.refuses_to_wait


@pytest.mark.parametrize(("host", "gpu", "seconds"), [(5e-6, 20e-6, 400e-6), (20e-6, 2e-6, 200e-6)])
def test_every_cold_call_has_a_flush_before_it_whose_time_is_not_the_calls(
    line: FakeLine, host: float, gpu: float, seconds: float
) -> None:
    clocked = FakeCuda(line).clock_cold(kernels(line, 10, host, gpu, cold=2), calls=20)
    assert line.flushes == clocked.calls == 21
    # A slow host queued kernels while the device flushed for 60 us: by the device's marks its call would take 140 us.
    assert clocked.batch_seconds == pytest.approx([seconds] * 20)
    assert clocked.seconds == pytest.approx(20 * seconds)
    is_slow_host = host > gpu
    assert (clocked.host_seconds >= clocked.seconds + 20 * FLUSH_SECONDS) != is_slow_host
    assert (0.95 < clocked.submit_seconds / clocked.host_seconds < 1) == is_slow_host


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_the_first_gpu_is_meant_where_no_number_is_given(
    monkeypatch: pytest.MonkeyPatch, name: str, index: int
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)  # torch's own code does the rest
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: Mock(total_memory=1))
    Cuda(name)
    assert chosen == [index]


def test_a_hello_starts_neither_cuda_nor_the_drivers_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any) -> Any:
        raise AssertionError("CUDA or NVML was started")

    for name in ("_lazy_init", "get_device_name", "get_device_properties", "device_count"):
        monkeypatch.setattr(torch.cuda, name, started)
    monkeypatch.setattr(nvml, "ask", started)
    assert Cuda.about().keys() == {"cuda", "cudnn"}


def test_a_torch_for_rocm_is_as_good_as_one_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "without CUDA and without ROCm" in Cuda.why_not("cuda")
    monkeypatch.setattr(torch.version, "hip", "7.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Cuda.why_not("cuda") == ""
    assert Cuda.about()["cuda"] == "ROCm 7.1"


def test_a_cudnn_that_torch_was_not_built_with_does_not_keep_a_worker_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mixed() -> int:
        raise RuntimeError("cuDNN version incompatibility: PyTorch was compiled against (9, 10, 2)\nmore")

    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", mixed)
    version = Cuda.about()["cudnn"]
    assert version == "not told: cuDNN version incompatibility: PyTorch was compiled against (9, 10, 2)"


def needs_gpu(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test for `-m cuda`, and skip it without a GPU."""
    skip = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
    marked: Callable[..., None] = pytest.mark.cuda(skip(test))
    return marked


MEGABYTE = 1 << 20


def block(size: int) -> TimedCall:
    return TimedCall(lambda: torch.empty(size, dtype=torch.uint8, device="cuda"), torch.inference_mode)


@needs_gpu
def test_a_known_block_is_the_allocators_peak() -> None:
    assert count(block(64 * MEGABYTE), torch.device("cuda"))["peak_bytes"] == 64 * MEGABYTE
    assert Cuda("cuda").reserved_bytes(block(64 * MEGABYTE)) == 64 * MEGABYTE


def memory_reserved(card: str = "cuda") -> int:
    gc.collect()
    Cuda.empty_cache()
    return torch.cuda.memory_reserved(card)


@needs_gpu
def test_twenty_observations_leave_the_memory_that_they_found() -> None:
    worker = operations()
    torch.empty(1, device="cuda")  # creates the context
    reserved = []
    before = memory_reserved()
    gc.disable()
    try:
        for number in range(20):
            changes: Any = {"phase": ("inference", "training")[number % 2], "hidden_size": 256 + number, "seq_len": 16}
            case = small.case("lstm", "cudagraph", device="cuda", dtype="float32", batch_size=64, **changes)
            reply = worker.handle({"op": "observe", "case": case.axes(), "root": ".", "compiled_steps": 32})
            assert reply["ok"], reply
            reserved.append(torch.cuda.memory_reserved())
    finally:
        gc.enable()
    print("reserved before:", before, "and after each:", reserved)
    assert reserved == [before] * 20


# In bfloat16, cuDNN's layers copy their weights in each call: torch flattens none in that type.
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk of memory")
@needs_gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "tf32", "float32"])
@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
def test_right_cells_agree_with_cudnn_over_hundreds_of_steps(cell: str, dtype: Any) -> None:
    sizes: Any = {"seq_len": 256, "batch_size": 32, "hidden_size": 256, "input_size": 64, "phase": "training"}
    before = global_state.capture()
    global_state.restore(before | Cuda.settings(dtype) | {"threads": 1})
    try:
        built = build(small.case(cell, "hoisted", device="cuda", dtype=dtype, **sizes), Path())
        parity, error = _check_parity(built)
    finally:
        global_state.restore(before)
    print(
        cell, dtype, error, "allowed", allowed("gradient of weight", dtype, steps=256, batch=32, hidden=256, output=2)
    )
    assert parity == "agrees"


def spin(seconds: float) -> Callable[[], None]:
    """A call of one kernel that lasts at least `seconds`."""
    device = Cuda("cuda")
    return lambda: device.hold(seconds)


@needs_gpu
def test_a_kernel_that_holds_the_device_lasts_at_least_as_long_as_it_is_to() -> None:
    for seconds in (1e-4, 5e-3):
        lasts = Cuda("cuda").clock(spin(seconds), 3, 1).batch_seconds
        assert seconds <= min(lasts) <= max(lasts) < 20 * seconds  # an idle card runs at a low clock


@needs_gpu
def test_a_flush_writes_twice_what_the_cache_holds_and_is_not_clocked() -> None:
    device = Cuda("cuda")
    cold = device.clock_cold(spin(0.0), calls=50)
    assert _buffer("cuda").nbytes >= 2 * torch.cuda.get_device_properties("cuda").L2_cache_size
    assert min(cold.batch_seconds) < min(device.clock(device.flush, 50, 1).batch_seconds)
    assert cold.seconds < cold.host_seconds


CELLS = """
import torch
from torch import nn

class Large(nn.RNNCell):
    def forward(self, input, h):
        torch.empty(1 << 44, dtype=torch.uint8, device=input.device)
        return super().forward(input, h)

class Astray(nn.RNNCell):
    def forward(self, input, h):
        torch.zeros(4, device=input.device)[torch.full((1,), 99, device=input.device)]
        return super().forward(input, h)
"""


@needs_gpu
def test_a_case_that_is_too_large_and_one_that_breaks_the_context_fail_alone(tmp_path: Path) -> None:
    (tmp_path / "cells.py").write_text(CELLS)
    axes: Any = {"device": "cuda", "dtype": "float32"}
    bad = [Case(f"cells.py:{name}", "loop", small.workload(**axes)) for name in ("Large", "Astray")]
    good = (small.case("vanilla", **axes), small.reference_case(**axes))
    with closing(RunFolder.create(tmp_path, "test")) as folder:
        run_into(folder, [Group(small.workload(**axes), (*bad, *good))], Settings(replicates=2, precision=None))
    cases = rows(folder.path).drop_duplicates("case").set_index("case")[["status", "reason"]]
    assert set(cases.loc[[case.key for case in bad], "status"]) == {"failed"}
    assert str(cases.loc[bad[0].key, "reason"]).startswith("out of memory: CUDA out of memory")
    assert "CUDA error: device-side assert triggered" in str(cases.loc[bad[1].key, "reason"])
    assert set(cases.loc[[case.key for case in good], "status"]) == {"measured"}
