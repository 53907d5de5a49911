"""The logic of CUDA's clock, on a device whose kernel times the test sets and whose kernels run beside the host."""

from typing import Any
from unittest.mock import Mock

import pytest
import torch

from rnnbench.harness.devices import Cuda, nvml
from rnnbench.store.readings import Unavailable
from rnnbench.workloads.phases import TimedCall
from tests.doubles.fake_cuda import FLUSH_SECONDS, FakeCuda, FakeLine, kernels


@pytest.mark.parametrize(("host", "gpu"), [(5e-6, 20e-6), (20e-6, 5e-6)])
def test_a_call_takes_the_devices_time_or_that_of_a_host_which_queues_it_more_slowly(host: float, gpu: float) -> None:
    line = FakeLine()
    clocked = FakeCuda(line).clock(kernels(line, 10, host, gpu), batches=20, batch=1)
    assert clocked.batch_seconds == pytest.approx([200e-6] * 20, rel=0.01)
    assert clocked.seconds == pytest.approx(20 * 200e-6, rel=0.01)
    assert clocked.submit_seconds == pytest.approx(20 * 10 * host, rel=0.01)
    assert (clocked.submit_seconds / clocked.host_seconds > 0.99) == (host > gpu)


def test_events_are_created_before_the_clock_starts() -> None:
    line = FakeLine()
    clocked = FakeCuda(line).clock(kernels(line, 1, 5e-6, 1e-6), batches=20, batch=10)
    assert clocked.batch_seconds == pytest.approx([50e-6] * 20)  # the host's time for ten launches
    assert clocked.submit_seconds == pytest.approx(20 * 50e-6)
    cold = FakeCuda(line).clock_cold(kernels(line, 10, 20e-6, 2e-6), calls=5)
    assert cold.batch_seconds == pytest.approx([200e-6] * 5)


def test_the_devices_own_time_of_a_launch_bound_call_is_without_the_host() -> None:
    line = FakeLine()
    call = TimedCall(kernels(line, 100, host=20e-6, gpu=5e-6), torch.inference_mode)
    assert FakeCuda(line).clock(call.call, 5, 1).batch_seconds[0] == pytest.approx(100 * 20e-6, rel=0.02)
    assert FakeCuda(line).device_seconds(call) == pytest.approx(100 * 5e-6)
    longer = TimedCall(kernels(line, 3000, host=20e-6, gpu=5e-6), torch.inference_mode)
    with pytest.raises(Unavailable, match="do not fit into the device's queue"):
        FakeCuda(line).device_seconds(longer)


@pytest.mark.parametrize(("host", "gpu", "seconds"), [(5e-6, 20e-6, 400e-6), (20e-6, 2e-6, 200e-6)])
def test_every_cold_call_has_a_flush_before_it_whose_time_is_not_the_calls(
    host: float, gpu: float, seconds: float
) -> None:
    line = FakeLine()
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
