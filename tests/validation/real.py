"""Coverage on this machine: intervals of known ratios from real runs in fresh processes."""

import math
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates_of
from rnnbench.analysis.run_times import read_run_times
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.suite import suites

SUITE = Path(__file__).with_name("repeated.toml")
BASE_STEPS = 100
HEADS = {"Again100": 100, "Steps102": 102, "Steps105": 105, "Steps150": 150, "Steps400": 400}


def coverage(runs: int) -> pd.DataFrame:
    """A row for each ratio, and one for all: how many of the 95% intervals hold the true ratio."""
    rows = pd.concat([intervals(one_run()) for _ in range(runs)])
    parts = [(ratio, part) for ratio, part in rows.groupby("steps over base")] + [("all", rows)]
    return pd.DataFrame(
        {
            "steps over base": ratio,
            "intervals": len(part),
            "covered": part["covers"].mean(),
            "half_width": part["half_width"].median(),
            "median_error": part["error"].median(),
            "largest_error": part["error"].abs().max(),
        }
        for ratio, part in parts
    )


def one_run() -> pd.DataFrame:
    """The times of each replicate of a run of `repeated.toml`."""
    suite = suites.read_suite(str(SUITE))
    with tempfile.TemporaryDirectory() as out:
        groups = suite.groups({}, None)
        path = run_suite(suite, groups, suite.measure, out=Path(out), command="", on_progress=lambda step: None)
        return times_of(path)


def times_of(path: Path) -> pd.DataFrame:
    """The times of each replicate of a run, with the name of each cell."""
    run = read_run_times(path)
    cells = run.cases["cell"].str.rpartition(":")[2]
    return run.replicates.assign(cell=cells.to_numpy()[run.replicates["number"].to_numpy()])


def intervals(times: pd.DataFrame) -> pd.DataFrame:
    """A row for each workload and head: whether the interval of its ratio to the base holds the true ratio.

    A call of n steps takes n s + o, where o is the time of the cell without steps, some 2% of the base.
    """
    rows, samples = [], []
    for _, workload in times.groupby("workload"):
        logs = workload.pivot_table(index="replicate", columns="cell", values="log_seconds")
        overhead = float(np.exp((logs["Steps0"] - logs["Steps100"]).median()))
        for head, steps in HEADS.items():
            truth = math.log1p((steps / BASE_STEPS - 1) * (1 - overhead))
            rows.append({"steps over base": f"{steps / BASE_STEPS:.2f}", "truth": truth})
            samples.append((logs[head] - logs["Steps100"]).to_list())
    ratios = pd.DataFrame(map(asdict, estimates_of(samples)))  # as in a report, all cases of the run together
    table = pd.DataFrame(rows)
    return pd.DataFrame(
        {
            "steps over base": table["steps over base"],
            "covers": table["truth"].between(ratios["lower"], ratios["upper"]),
            "half_width": (ratios["upper"] - ratios["lower"]) / 2,
            "error": ratios["value"] - table["truth"],
        }
    )
