"""One case under pytest-benchmark: observed, prepared in this process, timed and recorded."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pytest
import torch

from rnnbench.analysis.replicate import pooled_times
from rnnbench.analysis.runs.derived import with_derived
from rnnbench.harness.turns.engine import Plan
from rnnbench.pytest_plugin.case import live_case
from rnnbench.pytest_plugin.clock import BenchmarkBlocks
from rnnbench.pytest_plugin.collecting import Chosen
from rnnbench.pytest_plugin.session import NO_ENERGY, ObservingSession
from rnnbench.report.export.cases import known
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import Measurement


@dataclass(frozen=True)
class Wanted:
    """What pytest-benchmark's options ask for, the marker `benchmark` before the command line."""

    min_rounds: int
    max_time: float  # seconds for each case
    min_time: float  # seconds of a round


def wanted(request: pytest.FixtureRequest) -> Wanted:
    """The options that hold for a test."""
    marker = request.node.get_closest_marker("benchmark")
    options = marker.kwargs if marker else {}

    def of(name: str) -> float:
        return float(options.get(name, request.config.getoption(f"benchmark_{name}")))

    return Wanted(round(of("min_rounds")), of("max_time"), of("min_time"))


def benchmarked(benchmark: Any, chosen: Chosen, session: ObservingSession, asked: Wanted) -> object:
    """Benchmark a case with pytest-benchmark's fixture; returns the result of the last call.

    A round is a block of the engine: one call, or as many short calls as its device clocks together. Rounds fill
    `--benchmark-max-time` in whole windows; there are at least `--benchmark-min-rounds`, and each takes at least
    `--benchmark-min-time`. The case is warm before the first. After the last it is compared with its reference again,
    and fails if they disagree. If benchmarks are disabled, it is compared with its reference and called once.
    """
    __tracebackhide__ = True
    measurement = session.observe(chosen)
    benchmark.params = chosen.case.axes()  # for --benchmark-group-by=param:AXIS
    with live_case(chosen.case, chosen.root, chosen.settings, session.torch_state) as live:
        if benchmark.disabled:
            return benchmark.pedantic(live.call)
        calibrated, warmup_windows = live.calibrated(chosen.settings)
        plan, rounds = planned(calibrated, asked, single_calls=live.workload.waits_for_each_call)
        blocks = BenchmarkBlocks(chosen.clock, lambda: live.window(plan), rounds, plan.batch, live.call)
        result = benchmark.pedantic(blocks, rounds=rounds, iterations=plan.batch)
        if fault := live.fault_after_timing():
            benchmark.has_error = True  # its times are not saved
            pytest.fail(f"after timing: {fault}", pytrace=False)
    measurement = replace(measurement, status="measured", reason="", warmup_windows=warmup_windows)
    benchmark.extra_info.update(told(measurement, plan, blocks.taken))
    return result


def planned(plan: Plan, asked: Wanted, *, single_calls: bool = False) -> tuple[Plan, int]:
    """The plan with blocks as long as `asked`, unless each is a single call, and their number in whole windows."""
    per_call = plan.seconds / plan.calls
    if per_call > 0 and plan.batch * per_call < asked.min_time and not single_calls:
        batch = math.ceil(asked.min_time / per_call)
        batches = max(1, round(plan.calls / batch))
        plan = Plan(batches, batch, batches * batch * per_call)
    windows = max(1, math.ceil(asked.min_rounds / plan.batches))
    if plan.seconds > 0:
        windows = max(windows, round(asked.max_time / plan.seconds))
    return plan, windows * plan.batches


def told(measurement: Measurement, plan: Plan, block_seconds: list[float]) -> dict[str, Any]:
    """A benchmark's `extra_info`: every axis, every known metric, why others are not known, and how it was timed.

    `seconds` is the time as `rnnbench run` estimates it, the median of all blocks.
    """
    line = {metric.name: None for metric in OBSERVED} | measurement.to_json()
    per_call = sorted(seconds / plan.batch for seconds in block_seconds)
    line["seconds"] = pooled_times([per_call], [len(per_call) * plan.batch], [sum(block_seconds)]).median
    row = with_derived(pd.DataFrame([{**line, "run": "", "ceiling": None}])).iloc[0].to_dict()
    metrics = {metric.name: value for metric, value in known(row)}  # with finite values
    others = {name: value for name, value in line.items() if value is not None and name not in metrics}
    others["missing"] = NO_ENERGY | measurement.missing
    return others | metrics | {"calls_per_round": plan.batch, "torch": torch.__version__}
