"""CUDA's clock on a device whose kernel times the test sets and whose kernels run beside the host, and on a GPU.

Tests on a GPU: clocks, memory of known size, right cells against cuDNN, cases that break one.
`tests/gpu/test_truth.py` compares the same instruments with other tools, which takes minutes.
"""

import gc
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from rnnbench.harness import devices
from rnnbench.harness.devices import Cuda, cuda_cards, nvml
from rnnbench.harness.devices.cuda import LEAD_CALLS, _buffer
from rnnbench.harness.machine import cores, global_state
from rnnbench.harness.worker.answers import answer
from rnnbench.store.folder import RunFolder
from rnnbench.store.metrics import Unavailable
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from rnnbench.workloads.counts import count
from rnnbench.workloads.observe import _check_parity
from rnnbench.workloads.parity import allowed
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FLUSH_SECONDS, QUEUE, FakeCuda, FakeLine, FakeProfile, kernels
from tests.doubles.fake_driver import FakeDriver
from tests.doubles.fake_nvml import Driver
from tests.doubles.fakes import run_into
from tests.doubles.stored import rows
from tests.doubles.visits import worker_here


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> FakeLine:
    line = FakeLine()

    monkeypatch.setattr(torch.profiler, "profile", lambda activities: FakeProfile(line))
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


def test_a_call_that_does_not_fit_into_the_queue_is_found_at_once_and_its_kernels_are_added_up(line: FakeLine) -> None:
    calls = 0
    launch = kernels(line, 3000, host=20e-6, gpu=5e-6)

    def call() -> None:
        nonlocal calls
        calls += 1
        launch()

    timed = TimedCall(call, torch.inference_mode)
    assert FakeCuda(line).device_seconds(timed) == pytest.approx(3000 * 5e-6)
    # Their least time; one behind a held device; and under the profiler.
    assert calls == (1 + LEAD_CALLS) + (1 + 1) + 2
    line.has_cupti = False
    with pytest.raises(Unavailable, match="torch's profiler saw no kernel of this call: it has no CUPTI"):
        FakeCuda(line).device_seconds(timed)


def test_kernels_that_run_at_the_same_time_count_once(line: FakeLine) -> None:
    def call() -> None:
        for _ in range(3):
            line.launch_aside(1e-6, 40e-6)  # over 120 us
            line.launch(1e-6, 20e-6)

    line.host.seconds = 1.0
    assert FakeCuda(line).kernel_seconds(call) == pytest.approx(121e-6, rel=0.01)


def test_a_call_that_reads_a_value_back_has_the_time_of_its_kernels(line: FakeLine) -> None:
    launch = kernels(line, 10, host=20e-6, gpu=5e-6)

    def call() -> None:
        launch()
        line.synchronize()  # as `.item()` does

    assert FakeCuda(line).device_seconds(TimedCall(call, torch.inference_mode)) == pytest.approx(10 * 5e-6)


@pytest.mark.parametrize(("aside", "is_refused"), [(0.0, False), (1e-6, False), (2e-3, True)])
def test_work_on_another_stream_that_nobody_waits_for_is_not_timed_as_nothing(
    line: FakeLine, aside: float, is_refused: bool
) -> None:
    launch = kernels(line, 10, host=5e-6, gpu=20e-6)

    def call() -> None:
        launch()
        line.launch_aside(5e-6, aside)

    if is_refused:
        with pytest.raises(RuntimeError, match="the current stream does not wait for it, so its time can't be"):
            FakeCuda(line).clock(call, batches=20, batch=1)
        return
    assert FakeCuda(line).clock(call, batches=20, batch=1).batch_seconds == pytest.approx([200e-6] * 20, rel=0.01)


def test_a_host_that_loses_its_core_after_the_last_event_refuses_no_call(line: FakeLine) -> None:
    device = FakeCuda(line)
    wait = line.synchronize
    lost = iter([0.0, 1.0])  # seconds; the first wait is that for new events

    def wait_longer() -> None:
        wait()
        line.host.seconds += next(lost, 0.0)

    device.synchronize = wait_longer  # type: ignore[method-assign]
    assert device.clock(kernels(line, 10, 5e-6, 20e-6), 2, 1).batch_seconds == pytest.approx([200e-6] * 2, rel=0.01)


@pytest.mark.parametrize("hertz", [0.6e9, 1.98e9, 3.2e9, 12e9])
def test_a_hold_that_lasts_longer_than_asked_or_ends_too_early_does_no_harm(line: FakeLine, hertz: float) -> None:
    line.hertz = hertz
    call = TimedCall(kernels(line, 100, host=20e-6, gpu=5e-6), torch.inference_mode)
    assert FakeCuda(line).device_seconds(call) == pytest.approx(100 * 5e-6)


def test_an_event_has_a_place_in_the_queue_and_can_not_be_read_before_the_device_comes_to_it(line: FakeLine) -> None:
    device = FakeCuda(line)
    before = line.mark()
    after = line.mark()
    before.record()
    device.hold(1e-3)
    after.record()
    assert not after.query()
    with pytest.raises(RuntimeError, match="device not ready"):
        before.elapsed_time(after)
    device.synchronize()
    assert before.elapsed_time(after) > 1.0
    for _ in range(2 * QUEUE):
        after.record()
    assert line.host.seconds < 1.0  # nothing runs, so nothing has to be waited for
    device.hold(1e-3)
    for _ in range(QUEUE + 1):
        after.record()
    assert after.query()  # the queue was full, so the host had to wait


@pytest.mark.parametrize("hertz", [0.21e9, 1.41e9, 1.98e9])
def test_the_rate_of_the_clock_is_told_by_two_kernels_of_known_cycles(line: FakeLine, hertz: float) -> None:
    line.hertz = hertz
    call = kernels(line, 100, host=20e-6, gpu=5e-6)
    device = FakeCuda(line)
    device.clock(call, 2, 1)
    before = line.host.seconds
    assert device.clock_hertz() == pytest.approx(hertz, rel=1e-6)
    assert line.host.seconds - before < 600e3 / hertz + 100e-6


def test_amds_cards_count_the_ticks_of_another_clock(line: FakeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert FakeCuda(line).clock_hertz() is None


@pytest.mark.parametrize("has_nvtx", [True, False])
def test_a_profiler_sees_a_range_of_the_given_name_whatever_is_in_it(
    monkeypatch: pytest.MonkeyPatch, has_nvtx: bool
) -> None:
    shown: list[str] = []

    def push(name: str) -> None:
        if not has_nvtx:
            raise RuntimeError("NVTX functions not installed. Are you sure you have a CUDA build?")
        shown.append(name)

    monkeypatch.setattr(torch.cuda.nvtx, "range_push", push)
    monkeypatch.setattr(torch.cuda.nvtx, "range_pop", lambda: shown.append("end"))
    device = object.__new__(Cuda)
    name = 'cell=own.py:Cell{"a": 1}'
    with pytest.raises(KeyError, match="of the case"), device.range(name):  # noqa: PT012 - the range ends all the same
        shown.append("call")
        raise KeyError("of the case")
    assert shown == ([name, "call", "end"] if has_nvtx else ["call"])


EXCLUSIVE_PROCESS = 3
PROHIBITED = 2


@pytest.mark.parametrize(("mode", "is_refused"), [(0, False), (PROHIBITED, False), (EXCLUSIVE_PROCESS, True)])
def test_a_card_that_takes_one_process_can_not_run_a_pair_unless_a_service_shares_it(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_refused: bool
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    driver.cards[1].mode = mode
    assert Cuda.why_no_pair("cuda") == ""
    assert ("EXCLUSIVE_PROCESS, so only one process can use it" in Cuda.why_no_pair("cuda:1")) == is_refused
    (tmp_path / "control").touch()
    assert Cuda.why_no_pair("cuda:1") == ""


def test_what_a_pair_has_of_a_cards_memory_is_told(driver: Driver) -> None:
    expected = "both sides use cuda at once, so each has half of its memory: 42.9 of 85.9 GB"
    assert Cuda.shared_memory("cuda") == expected
    driver.lose(0)
    assert Cuda.shared_memory("cuda") == Cuda.why_no_pair("cuda") == ""


@pytest.mark.parametrize(
    ("shown", "name", "said"),
    [
        (None, "cuda:1", ""),
        ("1", "cuda", ""),
        ("1", "cuda:1", "no device 'cuda:1': this process sees cuda:0 (CUDA_VISIBLE_DEVICES=1; its cards are"),
        (None, "cuda:4", "no device 'cuda:4': this process sees cuda:0 to cuda:1"),
        ("", "cuda", "no device 'cuda': this process sees no card (CUDA_VISIBLE_DEVICES=; its cards are"),
    ],
)
def test_a_card_that_a_job_does_not_see_is_refused_without_torch(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, shown: str | None, name: str, said: str
) -> None:
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert Cuda.why_not_here(name).startswith(said)
    assert bool(Cuda.why_not_here(name)) == bool(said)


def test_calls_on_a_card_get_two_cores_that_are_near_it(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (cuda_cards.near_cores, cores._grades):
        function.cache_clear()
    monkeypatch.setattr(cores, "allowed_cores", lambda: list(range(8)))
    monkeypatch.setattr(cores, "SYSTEM", Path("/nowhere"))
    driver.cards[1].near = (1, 2, 5)
    driver.cards[0].refused = {"nvmlDeviceGetCpuAffinity": 3}
    try:
        assert devices.core_choices("cuda:1", 1) == [[2, 5]]
        assert devices.core_choices("cuda:1", 4) == [[1, 2, 5, 6, 7]]  # near ones first
        assert devices.core_choices("cuda:0", 1) == [[6, 7]]  # nothing is known
    finally:
        for function in (cuda_cards.near_cores, cores._grades):
            function.cache_clear()


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
    """As `torch.backends.cudnn.version` does, which asks each card whether it is too old for cuDNN."""

    def started(*_: Any) -> Any:
        raise AssertionError("NVML was started")

    driver = FakeDriver().install(partial(monkeypatch.setattr, raising=False))
    cudnn = SimpleNamespace(is_cuda=True, getVersionInt=lambda: 91900)
    monkeypatch.setattr(torch._C, "_cudnn", cudnn, raising=False)
    monkeypatch.setattr(nvml, "ask", started)
    assert Cuda.about() == {"cuda": "13.0", "cudnn": 91900}
    assert not driver.is_used
    monkeypatch.delattr(cudnn, "getVersionInt")
    assert Cuda.about()["cudnn"] is None
    assert torch.cuda.is_available()
    assert driver.is_used


def test_a_torch_for_rocm_is_as_good_as_one_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "without CUDA and without ROCm" in Cuda.why_not("cuda")
    monkeypatch.setattr(torch.version, "hip", "7.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Cuda.why_not("cuda") == ""
    assert Cuda.about()["cuda"] == "ROCm 7.1"


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
    worker = worker_here()
    torch.empty(1, device="cuda")  # creates the context
    reserved = []
    before = memory_reserved()
    gc.disable()
    try:
        for number in range(20):
            changes: Any = {"phase": ("inference", "training")[number % 2], "hidden_size": 256 + number, "seq_len": 16}
            case = small.case("lstm", "cudagraph", device="cuda", dtype="float32", batch_size=64, **changes)
            reply = answer(worker, {"op": "observe", "case": case.axes(), "root": ".", "compiled_steps": 32})
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
    assert parity == AGREES


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
def test_the_rate_of_the_clock_is_one_that_the_card_can_have() -> None:
    device = Cuda("cuda")
    device.clock(spin(1e-3), 20, 1)
    rates = [device.clock_hertz() for _ in range(5)]
    most = 1e6 * float(nvml.open_gpu(str(device.uuid)).read(["max_sm_clock_mhz"]).values["max_sm_clock_mhz"])
    print("clock rates", rates, "of at most", most)
    assert all(rate is not None and 0.1 * most < rate < 1.03 * most for rate in rates)


@needs_gpu
def test_twice_the_work_takes_twice_as_long() -> None:
    device = Cuda("cuda")
    matrix = torch.ones(2048, 2048, device="cuda")
    wide = torch.ones(2048, 4096, device="cuda")
    device.clock(lambda: matrix @ wide, 1, 1)  # libraries set themselves up
    once = min(device.clock(lambda: matrix @ matrix, 1, 50).seconds for _ in range(3))
    twice = min(device.clock(lambda: matrix @ wide, 1, 50).seconds for _ in range(3))
    assert 1.6 <= twice / once <= 2.5


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
