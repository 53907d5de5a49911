"""Coverage on this machine: intervals of known ratios from real runs in fresh processes."""

import math
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench import load, suites
from rnnbench.analysis.estimate import estimates_of
from rnnbench.analysis.summary import complete_visits, replicate_times
from rnnbench.harness.coordinator.session import run_suite
from tests.validation.hogs import hogs

SUITE = Path(__file__).with_name("repeated.toml")
BASE_STEPS = 100
MAX_BLOCK_RATIO = 1.5
HEADS = {"Again100": 100, "Steps102": 102, "Steps105": 105, "Steps150": 150, "Steps400": 400}


def coverage(runs: int, busy: int = 0) -> pd.DataFrame:
    """A row for each ratio: how many of the 95% intervals hold the true ratio. `busy` processes run beside it."""
    rows, blocks = pd.DataFrame(), pd.Series(dtype=float)
    for _ in range(runs):
        with hogs(busy):
            frame = one_run()
        rows = pd.concat([rows, intervals(times_of(frame))])
        blocks = pd.concat([blocks, block_ratios(frame)])
    parts = [(ratio, part) for ratio, part in rows.groupby("steps over base")] + [("all", rows)]
    return pd.DataFrame(
        {
            "steps over base": ratio,
            "intervals": len(part),
            "covered": part["covers"].mean(),
            "half_width": part["half_width"].median(),
            "median_error": part["error"].median(),
            "largest_error": part["error"].abs().max(),
            "groups with blocks within 1.5": (blocks <= MAX_BLOCK_RATIO).mean() if ratio == "all" else math.nan,
        }
        for ratio, part in parts
    )


def block_ratios(frame: pd.DataFrame) -> "pd.Series[float]":
    """The longest block over the shortest one, for each visit to a group, by the time that each case takes at best."""
    windows = complete_visits(frame).join(frame[["cell", "batch"]])
    windows = windows[windows["cell"].str.rpartition(":")[2] != "Steps0"]  # it does nothing
    best = windows["quantiles"].map(min).groupby(windows["case"]).transform("min")
    blocks = windows["batch"] * best
    visits = blocks.groupby([windows["worker"], windows["workload"]])
    return visits.max() / visits.min()


def one_run() -> pd.DataFrame:
    """The frame of a run of `repeated.toml`."""
    suite = suites.read(str(SUITE))
    with tempfile.TemporaryDirectory() as out:
        groups = suite.groups({}, None, most=None)
        path = run_suite(suite, groups, suite.settings, out=Path(out), command="", on_progress=lambda step: None)
        return load(path)


def times_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The times of each replicate of a run, with the name of each cell."""
    times = replicate_times(complete_visits(frame))
    cells = frame.drop_duplicates("case").set_index("case")["cell"].str.rpartition(":")[2]
    return times.assign(cell=times["case"].map(cells))


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
