"""Cost: seconds until a ratio is known within 2%, by rnnbench and by other tools on the same cases.

A tool's ratios are taken again and again in fresh runs; from their spread follows how many runs have to be averaged
until 95% of such averages lie within 2% of each other's centre, and so the seconds for each ratio.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench import load, suites, summarize
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.suite_file import Settings
from tests.validation.cases import pairs

REPEATS = 6
PRECISION = 0.02
Times = dict[str, float]  # case key -> seconds


def cost() -> pd.DataFrame:
    """One row for each tool."""
    tools: dict[str, Callable[[], list[float]]] = {
        "rnnbench": rnnbench,
        "torch.utils.benchmark, medians": torch_benchmark,
        "pytest-benchmark, medians": lambda: pytest_benchmark("median"),
        "pytest-benchmark, minima": lambda: pytest_benchmark("min"),
        "pyperf, means of 5 processes": pyperf,
    }
    rows = []
    for name, tool in tools.items():
        runs, seconds = [], []
        for _ in range(REPEATS):
            started = time.monotonic()
            runs.append(tool())
            seconds.append(time.monotonic() - started)
        logs = np.log(runs)  # (repeat, ratio)
        spread = float(np.sqrt(np.mean(logs.var(axis=0, ddof=1))))
        needed = max(1.0, (1.96 * spread / np.log1p(PRECISION)) ** 2)
        per_ratio = float(np.mean(seconds)) / logs.shape[1]
        rows.append(
            {
                "tool": name,
                "seconds a run": float(np.mean(seconds)),
                "ratios a run": logs.shape[1],
                "spread of a ratio": spread,
                "runs needed": needed,
                "seconds a ratio within 2%": needed * per_ratio,
            }
        )
    return pd.DataFrame(rows)


def ratios(times: Times) -> list[float]:
    """Hand-written over torch.nn, for each pair that was measured."""
    return [times[own.key] / times[reference.key] for own, reference in pairs() if own.key in times]


def rnnbench() -> list[float]:
    """A run of the four groups until each ratio is within 2%."""
    suite = suites.read("quick")
    keys = [pair[0].key for pair in pairs()]
    chosen = [group for group in suite.groups({}, None, most=None) if any(case.key in keys for case in group.cases)]
    kept = {key for pair in pairs() for key in (pair[0].key, pair[1].key)}
    groups = [type(g)(g.workload, tuple(case for case in g.cases if case.key in kept)) for g in chosen]
    settings = Settings(precision=PRECISION)
    with tempfile.TemporaryDirectory() as out:
        path = run_suite(suite, groups, settings, out=Path(out), command="", on_progress=lambda step: None)
        summary = summarize(load(path)).set_index("case")
    return [float(ratio) for ratio in summary["ratio"][keys]]


def torch_benchmark() -> list[float]:
    """One fresh process of torch.utils.benchmark."""
    command = [sys.executable, "-m", "tests.validation.peers"]
    return ratios(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def pytest_benchmark(statistic: str) -> list[float]:
    """One run of pytest-benchmark with its own defaults."""
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "out.json"
        options = ["-q", "--benchmark-only", f"--benchmark-json={file}", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "tests/validation/peers.py", *options]
        subprocess.run(command, check=True, capture_output=True)
        found = json.loads(file.read_text())["benchmarks"]
    return ratios({one["extra_info"]["case"]: one["stats"][statistic] for one in found})


def pyperf() -> list[float]:
    """One run of pyperf, five processes for each of two cases."""
    import pyperf as tool

    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "out.json"
        options = ["--quiet", "--inherit-environ=PYTHONPATH", f"--output={file}"]
        command = [sys.executable, str(Path(__file__).with_name("peer_pyperf.py")), *options]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
        suite = tool.BenchmarkSuite.load(str(file))
    return ratios({one.get_name(): one.mean() for one in suite.get_benchmarks()})
