"""`launch-bound` against torch's profiler: the share of a call's time in which kernels ran."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch._C._autograd import DeviceType

from rnnbench.analysis.runs.summary import launch_bound
from rnnbench.harness import devices
from rnnbench.harness.turns.engine import calibrate, take_window, warm_up
from rnnbench.store.records import Case
from rnnbench.workloads.prepare import build
from tests.gpu.cases import axes, case, implementations
from tests.gpu.row import Row

LENGTHS = (32, 256, 1024)
LARGE: dict[str, Any] = {
    "batch_size": 256,
    "input_size": 2048,
    "hidden_size": 2048,
}  # a loop that fills the launch queue
WINDOWS = 5
# A busy device has gaps of a microsecond between kernels, as long as a small kernel.
BUSY, WAITING = 0.5, 0.85  # smallest share of a device that never waits, largest of one that does


def check(device: str) -> Iterator[Row]:
    """One row for each case."""
    for length in LENGTHS:
        for implementation in implementations(device, "loop", "cudagraph"):
            yield row(case("lstm", implementation, **axes(device, length)))
    large: dict[str, Any] = {} if devices.is_shared(device) else LARGE
    yield row(case("lstm", "loop", **axes(device, 256, **large)))


def row(one: Case) -> Row:
    """The row of a case; it holds if the judgement agrees with the share of time in which kernels ran."""
    device = devices.open_device(one.workload.device)
    timed = build(one, Path()).timed_call()
    with timed.mode():
        plan = calibrate(device, timed.call, 0.01)
        warm_up(device, timed.call, plan)
        readings = [take_window(device, timed.call, plan) for _ in range(WINDOWS)]
        kernel_seconds = kernels(timed.call, device.synchronize)
    timed.end()
    columns = ("seconds", "host_seconds", "submit_seconds")
    totals = pd.DataFrame([{name: sum(getattr(reading, name) for reading in readings) for name in columns}])
    is_bound = bool(launch_bound(totals, pd.Series([WINDOWS]))[0])
    seconds = totals["seconds"][0] / (WINDOWS * plan.calls)
    share = kernel_seconds / seconds
    workload = one.workload
    return {
        "case": f"{one.implementation} batch {workload.batch_size} hidden {workload.hidden_size} x {workload.seq_len}",
        "seconds": seconds,
        "kernel seconds": kernel_seconds,
        "busy": share,
        "lead at the end, ms": 1e3 * (totals["host_seconds"] - totals["submit_seconds"])[0] / WINDOWS,
        "launch-bound": is_bound,
        "holds": is_right(is_bound, share) if not device.runs_host_code else not is_bound,
    }


def is_right(is_bound: bool, busy: float) -> bool:
    """Whether the judgement `is_bound` is acceptable for a device that was busy for this share of the time."""
    return 0 < busy <= WAITING if is_bound else busy >= BUSY


def kernels(call: Callable[[], object], synchronize: Callable[[], object]) -> float:
    """Seconds in which a call's kernels ran, copies included."""
    profiler: Any = torch.profiler  # untyped in torch
    for _ in range(2):  # the first profile of a process is slow
        synchronize()
        with profiler.profile(activities=profiler.supported_activities()) as profile:
            call()
            synchronize()
    events = profile.profiler.kineto_results.events()
    nanoseconds: int = sum(event.duration_ns() for event in events if event.device_type() == DeviceType.CUDA)
    return nanoseconds / 1e9
