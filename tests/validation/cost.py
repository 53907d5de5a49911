"""Cost: seconds until a ratio is known within 2%, by rnnbench and by other tools on the same cases.

A tool's ratios are measured in repeated fresh runs. Their spread gives the number of runs that must be averaged
until 95% of such averages lie within 2% of their centre, and so the seconds for each ratio.
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
    """The time of hand-written over torch.nn, for each measured pair."""
    return [times[own.key] / times[reference.key] for own, reference in pairs() if own.key in times]


def rnnbench() -> list[float]:
    """The ratios from a run of the four groups until each is known within 2%."""
    suite = suites.read("quick")
    keys = [pair[0].key for pair in pairs()]
    chosen = [group for group in suite.groups({}, None, most=None) if any(case.key in keys for case in group.cases)]
    pair_keys = {key for pair in pairs() for key in (pair[0].key, pair[1].key)}
    groups = [type(g)(g.workload, tuple(case for case in g.cases if case.key in pair_keys)) for g in chosen]
    settings = Settings(precision=PRECISION)
    with tempfile.TemporaryDirectory() as out:
        path = run_suite(suite, groups, settings, out=Path(out), command="", on_progress=lambda step: None)
        summary = summarize(load(path)).set_index("case")
    return [float(ratio) for ratio in summary["ratio"][keys]]


def torch_benchmark() -> list[float]:
    """The ratios from one fresh process of torch.utils.benchmark."""
    command = [sys.executable, "-m", "tests.validation.peers"]
    return ratios(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def pytest_benchmark(statistic: str) -> list[float]:
    """The ratios from one run of pytest-benchmark with its defaults."""
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "out.json"
        options = ["-q", "--benchmark-only", f"--benchmark-json={file}", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "tests/validation/peers.py", *options]
        subprocess.run(command, check=True, capture_output=True)
        benchmarks = json.loads(file.read_text())["benchmarks"]
    return ratios({benchmark["extra_info"]["case"]: benchmark["stats"][statistic] for benchmark in benchmarks})


def pyperf() -> list[float]:
    """The ratio from one run of pyperf, with five processes for each of two cases."""
    import pyperf as tool

    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "out.json"
        options = ["--quiet", "--inherit-environ=PYTHONPATH", f"--output={file}"]
        command = [sys.executable, str(Path(__file__).with_name("peer_pyperf.py")), *options]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
        suite = tool.BenchmarkSuite.load(str(file))
    return ratios({benchmark.get_name(): benchmark.mean() for benchmark in suite.get_benchmarks()})
