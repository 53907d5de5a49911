"""The cost of the pytest door against `rnnbench run`, on the same eight cases with the same time in windows.

For comparison, pytest-benchmark times the same calls with its own calibration, as any user would. It neither checks
nor observes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from rnnbench import load

REPEATS = 5
ONLY = "cell=vanilla,lstm implementation=loop seq_len=16 hidden_size=64 batch_size=32"  # as in `cases.pairs`
PLUGINS = ("-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "-q")
OURS = ("-p", "rnnbench.pytest_plugin", "--suite", "quick", "--only", ONLY)


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a door."""

    wall_seconds: float
    window_seconds: float
    times: Mapping[str, float]  # case key -> seconds of a call


def pytest_door() -> pd.DataFrame:
    """One row for each door with medians over the repeats; the doors take turns."""
    costs: dict[str, list[Cost]] = {"rnnbench run": [], "pytest suites/": [], "pytest-benchmark by itself": []}
    for _ in range(REPEATS):
        run = _run()
        seconds_a_case = run.window_seconds / len(run.times)
        costs["rnnbench run"].append(run)
        costs["pytest suites/"].append(_pytest(["suites", *OURS], seconds_a_case))
        costs["pytest-benchmark by itself"].append(_pytest(["tests/validation/peers.py"], seconds_a_case))
    return table(costs)


def table(costs: Mapping[str, Sequence[Cost]]) -> pd.DataFrame:
    """`beside them`: seconds outside a door's windows; `time`: the time of calls over that of the first door."""
    first = next(iter(costs.values()))
    rows = []
    for door, runs in costs.items():
        walls, windows = [run.wall_seconds for run in runs], [run.window_seconds for run in runs]
        beside = [wall - window for wall, window in zip(walls, windows, strict=True)]
        ratios = [
            run.times[case] / base.times[case] for run, base in zip(runs, first, strict=True) for case in run.times
        ]
        rows.append(
            {
                "door": door,
                "cases": len(runs[0].times),
                "repeats": len(runs),
                "wall seconds": median(walls),
                "seconds in windows": median(windows),
                "seconds beside them": median(beside),
                "beside them, each case": median(beside) / len(runs[0].times),
                "time of a call against run": median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
            }
        )
    return pd.DataFrame(rows)


def _run() -> Cost:
    with tempfile.TemporaryDirectory() as out:
        started = time.monotonic()
        _call("rnnbench", "run", "quick", "--only", ONLY, "--out", out)
        wall = time.monotonic() - started
        run = load(next(Path(out).iterdir()))
        seconds = dict(zip(run.cases["case"], run.cases["seconds"], strict=True))
        return Cost(wall, float(run.windows["host_seconds"].sum()), seconds)


def _pytest(tests: Sequence[str], seconds_a_case: float) -> Cost:
    """Time the cases with pytest-benchmark; a call's time is the 10% quantile of its rounds, as in a run."""
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "out.json"
        options = ("--benchmark-only", f"--benchmark-json={file}", f"--benchmark-max-time={seconds_a_case}")
        started = time.monotonic()
        _call("pytest", *tests, *PLUGINS, *options)
        wall = time.monotonic() - started
        benchmarks = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    times = {entry["extra_info"]["case"]: float(np.quantile(entry["stats"]["data"], 0.1)) for entry in benchmarks}
    return Cost(wall, sum(entry["stats"]["total"] * entry["stats"]["iterations"] for entry in benchmarks), times)


def _call(module: str, *arguments: str) -> None:
    # Load only the named plugins, whatever else is installed.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, env=environment)
