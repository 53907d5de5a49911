"""What the pytest door costs against `rnnbench run`, on the same eight cases for the same time in windows.

Beside both stands pytest-benchmark by itself, with the same calls and its own calibration: what any user of it pays. It
checks nothing and observes nothing.
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

from rnnbench import load, summarize

REPEATS = 5
ONLY = "cell=vanilla,lstm implementation=loop seq_len=16 hidden_size=64 batch_size=32"  # as in `cases.pairs`
PLUGINS = ("-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "-q")
OURS = ("-p", "rnnbench.pytest_plugin", "--suite", "quick", "--only", ONLY)


@dataclass(frozen=True)
class Cost:
    """What one run of a door took."""

    wall_seconds: float
    window_seconds: float
    times: Mapping[str, float]  # seconds of a call, by the case's key


def pytest_door() -> pd.DataFrame:
    """One row for each door, medians over the repeats; the doors take turns."""
    costs: dict[str, list[Cost]] = {"rnnbench run": [], "pytest suites/": [], "pytest-benchmark by itself": []}
    for _ in range(REPEATS):
        run = _run()
        seconds_a_case = run.window_seconds / len(run.times)
        costs["rnnbench run"].append(run)
        costs["pytest suites/"].append(_pytest(["suites", *OURS], seconds_a_case))
        costs["pytest-benchmark by itself"].append(_pytest(["tests/validation/peers.py"], seconds_a_case))
    return table(costs)


def table(costs: Mapping[str, Sequence[Cost]]) -> pd.DataFrame:
    """`beside them`: what a door takes apart from its windows; `time`: how long calls take against the first door's."""
    first = next(iter(costs.values()))
    rows = []
    for door, found in costs.items():
        walls, windows = [one.wall_seconds for one in found], [one.window_seconds for one in found]
        beside = [wall - window for wall, window in zip(walls, windows, strict=True)]
        ratios = [
            one.times[case] / other.times[case] for one, other in zip(found, first, strict=True) for case in one.times
        ]
        rows.append(
            {
                "door": door,
                "cases": len(found[0].times),
                "repeats": len(found),
                "wall seconds": median(walls),
                "seconds in windows": median(windows),
                "seconds beside them": median(beside),
                "beside them, each case": median(beside) / len(found[0].times),
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
        frame = load(next(Path(out).iterdir()))
        summary = summarize(frame)
    return Cost(wall, float(frame["host_seconds"].sum()), dict(zip(summary["case"], summary["seconds"], strict=True)))


def _pytest(tests: Sequence[str], seconds_a_case: float) -> Cost:
    """The time of a call is the 10% quantile of its rounds, as in a run."""
    with tempfile.TemporaryDirectory() as out:
        file = Path(out) / "out.json"
        asked = ("--benchmark-only", f"--benchmark-json={file}", f"--benchmark-max-time={seconds_a_case}")
        started = time.monotonic()
        _call("pytest", *tests, *PLUGINS, *asked)
        wall = time.monotonic() - started
        found = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    times = {one["extra_info"]["case"]: float(np.quantile(one["stats"]["data"], 0.1)) for one in found}
    return Cost(wall, sum(one["stats"]["total"] * one["stats"]["iterations"] for one in found), times)


def _call(module: str, *arguments: str) -> None:
    # Only the plugins that are named, whatever else is installed beside them.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, env=environment)
