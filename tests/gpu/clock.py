"""The engine's clock against the clocks of other tools, in turns in one process, each against its equivalent.

- `torch.utils.benchmark` queues calls one after another, waits for the last and takes their mean, as warm windows do.
- `triton.testing.do_bench` puts events around each call and takes their median. With nothing between its calls it does
  as warm windows do; where it waits for the device and then flushes the cache, as cold windows do.

Pure cases, in which the host is ahead, must agree within 2%. A loop depends on how fast Python is at that moment and is
reported.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from torch.utils.benchmark import Timer

from rnnbench.harness import devices
from rnnbench.harness.devices import Device
from rnnbench.harness.turns.engine import Plan, calibrate, take_window, warm_up
from rnnbench.store.records import Case
from rnnbench.workloads.prepare import build
from tests.gpu.cases import PURE, axes, case, implementations
from tests.gpu.row import Row

ROUNDS = 9
SECONDS = 0.1
ALLOWED = 0.02
LENGTH = 256

Call = Callable[[], object]
Side = Callable[[], float]  # seconds per call


@dataclass(frozen=True)
class Tool:
    """A tool that a case is compared with."""

    name: str
    seconds: Side
    takes_mean: bool = False  # the mean of its calls, not their median
    cold: bool = False  # caches are flushed before each call


def check(device: str) -> Iterator[Row]:
    """One row for each case and tool."""
    for layer in ("lstm", "gru"):
        for phase in ("inference", "training"):
            for implementation in implementations(device, *PURE, "loop"):
                yield from compared(case(layer, implementation, **axes(device, LENGTH, phase)))


def compared(subject: Case) -> Iterator[Row]:
    """One row for each tool that a case is compared with."""
    device = devices.open_device(subject.workload.device)
    is_required = subject.implementation in PURE and not devices.is_shared(subject.workload.device)
    timed = build(subject, Path()).timed_call()
    with timed.mode():
        for tool in _tools(subject, device, timed.call):
            plan = calibrate(device, timed.call, SECONDS, cold=tool.cold)
            warm_up(device, timed.call, plan, cold=tool.cold)

            def ours(plan: Plan = plan, tool: Tool = tool) -> float:
                reading = take_window(device, timed.call, plan, cold=tool.cold)
                return reading.seconds / plan.calls if tool.takes_mean else median(reading.quantiles)

            logs, seconds = _log_ratios(ours, tool.seconds)
            ratio = float(np.exp(median(logs)))
            yield {
                "case": f"{subject.cell} {subject.implementation} {subject.workload.phase}",
                "against": tool.name,
                "seconds": seconds,
                "median ratio": ratio,
                "spread": float(np.std(logs)),
                "holds": abs(ratio - 1) <= ALLOWED if is_required else None,
            }
    timed.end()


def _tools(subject: Case, device: Device, call: Call) -> Iterator[Tool]:
    timer = Timer("call()", globals={"call": call}, num_threads=subject.workload.threads)
    yield Tool("torch.utils.benchmark", lambda: float(timer.blocked_autorange(min_run_time=SECONDS).median), True)
    if importlib.util.find_spec("triton") is None or devices.is_shared(subject.workload.device):
        return
    yield Tool("do_bench, warm and queued", lambda: _do_bench(call, lambda flush, cache: None))

    def after_waiting(flush: Callable[[Any], object], cache: Any) -> None:
        device.synchronize()
        flush(cache)

    yield Tool("do_bench, cold and waited for", lambda: _do_bench(call, after_waiting), cold=True)


def _do_bench(call: Call, between: Callable[[Callable[[Any], object], Any], None]) -> float:
    """Triton's median seconds; `between` is called before each call with triton's flush and its buffer."""
    with _between(between):
        milliseconds: float = importlib.import_module("triton.testing").do_bench(call, return_mode="median")
    return milliseconds / 1e3


@contextmanager
def _between(between: Callable[[Callable[[Any], object], Any], None]) -> Iterator[None]:
    driver: Any = importlib.import_module("triton.runtime").driver.active
    flush = driver.clear_cache
    with patch.object(driver, "clear_cache", lambda cache: between(flush, cache)):
        yield


def _log_ratios(ours: Side, theirs: Side) -> tuple[list[float], float]:
    """The log-ratio of each round, and our median seconds."""
    logs, seconds = [], []
    for turn in range(ROUNDS):
        if turn % 2:
            first, second = ours(), theirs()
        else:
            second, first = theirs(), ours()
        logs.append(float(np.log(first / second)))
        seconds.append(first)
    return logs, median(seconds)
