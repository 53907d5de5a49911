"""The instruments against independent references: other clocks, torch's profiler, power. Figures are printed.

On a GPU only, except with DEVICE=cpu, which tries the tests at small sizes.
"""

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from threading import Event, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.benchmark import Timer

from rnnbench.analysis.summary import launch_bound
from rnnbench.harness import devices, protocol
from rnnbench.harness.devices import nvml
from rnnbench.harness.turns.schedule import calibrate, joules_per_call, warm_up
from rnnbench.harness.worker.answers import answer
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    DType,
    Phase,
)
from rnnbench.workloads.prepare import build
from tests.doubles.visits import worker_here
from tests.gpu.cases import DEVICE, NEEDS_DEVICE, ON_CPU, case

pytestmark = [*NEEDS_DEVICE, pytest.mark.usefixtures("one_thread")]
ROUNDS, WINDOWS = 9, 5
SECONDS = 0.1
# A busy device has gaps of a microsecond between kernels, as long as a small kernel.
BUSY, WAITING = 0.35, 0.85  # smallest share of a device that never waits, largest of one that does
IMPLEMENTATIONS: tuple[Implementation, ...] = ("torch.nn", "loop") if ON_CPU else ("torch.nn", "cudagraph", "loop")
Tools = dict[str, tuple[Callable[[], float], bool]]  # seconds, whether of a mean


def tools(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Return other tools' seconds of a call, each with what it does as windows do.

    `torch.utils.benchmark` queues calls one after another, waits for the last and takes their mean.
    `triton.testing.do_bench` puts events around each call and takes their median, here without flushing the cache.
    """
    timer = Timer("call()", globals={"call": call})
    found: Tools = {"timeit": (lambda: float(timer.blocked_autorange(min_run_time=SECONDS).median), True)}
    if ON_CPU:
        return found
    do_bench = importlib.import_module("triton.testing").do_bench
    driver: Any = importlib.import_module("triton.runtime").driver.active

    def bench() -> float:
        with monkeypatch.context() as patch:
            patch.setattr(driver, "clear_cache", lambda cache: None)
            return float(do_bench(call, return_mode="median")) / 1e3

    return found | {"do_bench": (bench, False)}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_the_clock_agrees_with_the_clocks_of_other_tools(
    phase: Phase, implementation: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pure cases, in which the host is ahead, agree within 2%; a loop depends on Python's speed at that moment."""
    device = devices.open_device(DEVICE)
    timed = build(case("lstm", implementation, 256, phase), Path()).timed_call()
    with timed.mode():
        for name, (theirs, takes_mean) in tools(timed.call, monkeypatch).items():
            plan = calibrate(device, timed.call, SECONDS)
            warm_up(device, timed.call, plan)
            logs = []
            for _ in range(ROUNDS):
                reading = device.clock(timed.call, plan.batches, plan.batch)
                ours = reading.seconds / plan.calls if takes_mean else median(reading.batch_seconds) / plan.batch
                logs.append(float(np.log(ours / theirs())))
            ratio = float(np.exp(median(logs)))
            print(f"{implementation} {phase} against {name}: {ratio:.3f}, spread {np.std(logs):.1%}")
            assert ON_CPU or implementation == "loop" or abs(ratio - 1) <= 0.02
    timed.close()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS[1:])
@pytest.mark.parametrize(("length", "size"), [(32, 0), (256, 0), (1024, 0), (256, 2048)])
def test_launch_bound_agrees_with_the_share_of_time_in_which_kernels_run(
    implementation: Implementation, length: int, size: int
) -> None:
    large: dict[str, Any] = {"batch_size": 256, "input_size": size, "hidden_size": size} if size and not ON_CPU else {}
    device = devices.open_device(DEVICE)
    timed = build(case("lstm", implementation, length, **large), Path()).timed_call()
    with timed.mode():
        plan = calibrate(device, timed.call, 0.01)
        warm_up(device, timed.call, plan)
        readings = [device.clock(timed.call, plan.batches, plan.batch) for _ in range(WINDOWS)]
        seconds = device.kernel_seconds(timed.call) if isinstance(device, devices.Cuda) else 0.0
        busy = seconds * WINDOWS * plan.calls
    timed.close()
    columns = ("seconds", "host_seconds", "submit_seconds")
    totals = pd.DataFrame([{name: sum(getattr(reading, name) for reading in readings) for name in columns}])
    is_bound, share = bool(launch_bound(totals, pd.Series([WINDOWS]))[0]), busy / totals["seconds"][0]
    print(f"{implementation} {length}: launch-bound {is_bound}, busy {share:.2f}")
    if ON_CPU:
        assert not is_bound
    else:
        assert 0 < share <= WAITING if is_bound else share >= BUSY


@pytest.mark.skipif(ON_CPU, reason="power is only sampled on a GPU")
@pytest.mark.parametrize("call_seconds", [1e-3, 30e-3])
def test_energy_is_mean_power_times_time_for_a_short_call_and_one_longer_than_a_window(call_seconds: float) -> None:
    device = devices.open_device(DEVICE)
    meter, gpu = device.meter(), nvml.open_gpu(str(device.uuid))
    left = torch.randn(4096, 4096, device=DEVICE).bfloat16()
    product = torch.empty_like(left)
    once = calibrate(device, lambda: torch.mm(left, left, out=product), 0.1)
    repeats = max(1, round(call_seconds / (once.seconds / once.calls)))
    calls, watts, ended = list[int](), list[float](), Event()

    def call() -> None:
        calls.append(1)
        for _ in range(repeats):
            torch.mm(left, left, out=product)

    def sample() -> None:
        while not ended.wait(0.02):
            watts.append(gpu.read(["power_watts"]).values["power_watts"])

    plan = calibrate(device, call, 0.01)
    joules_per_call(meter, device, call, plan)  # warm up until power is steady
    calls.clear()
    sampler, started = Thread(target=sample, daemon=True), time.perf_counter()
    sampler.start()
    joules = joules_per_call(meter, device, call, plan)
    seconds = time.perf_counter() - started
    ended.set()
    sampler.join()
    print(f"{joules} J a call, {len(calls)} calls, {mean(watts)} W, {seconds} s")
    assert joules * len(calls) == pytest.approx(mean(watts) * seconds, rel=0.05)


# From three quarters of published measurements to the data sheet's peak: TFLOP/s of dense products by dtype, TB/s of
# large copies (bytes read and written) by a part of the card's name, and µs of a launch.
HOPPER: dict[DType, tuple[float, float]] = {"float32": (35, 67), "tf32": (280, 495), "bfloat16": (560, 990)}
COPIES = {"H100 80GB HBM3": (2.3, 3.36), "H200": (3.3, 4.81)}
LAUNCH = (0.7, 10.0)


@pytest.mark.parametrize("dtype", ["float32"] if ON_CPU else HOPPER)
def test_ceilings_lie_between_what_was_published_and_what_the_card_can_do(dtype: DType, tmp_path: Path) -> None:
    request = protocol.ceiling(DEVICE, dtype, 1, str(tmp_path))
    reply = answer(worker_here(), dict(request))
    assert reply["ok"], reply
    ceiling = Ceiling.from_json(reply["ceiling"])
    tflops, copies = 2 * ceiling.macs_per_second / 1e12, ceiling.copies[-1].value / 1e12
    microseconds = (ceiling.launch_seconds or 0.0) * 1e6
    print(f"{dtype}: products {tflops:.3g} TFLOP/s, copies {copies:.3g} TB/s, a launch {microseconds:.3g} µs")
    name = "" if ON_CPU else torch.cuda.get_device_name(DEVICE)
    known = next((figures for part, figures in COPIES.items() if part in name), None)
    if known is not None:  # nothing is known of another card
        for value, (low, high) in ((tflops, HOPPER[dtype]), (copies, known), (microseconds, LAUNCH)):
            assert low <= value <= high
