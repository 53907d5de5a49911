"""Two runs of `quick`, 25 minutes apart: how often does one's interval hold the other's ratio?

A ratio of the second run has an error of its own, so 95% intervals that are right hold it in 83% of pairs, and the
difference of both ratios lies within both half-widths, added in quadrature, in 95%.
"""

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import SHARED, summarize
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.store.records import WORKLOAD_AXES
from rnnbench.suite import suites

SUITE = "quick"
MINUTES = 25.0
KEYS = ["cell", "implementation", *WORKLOAD_AXES]
VALUES = ["ratio", "ratio_low", "ratio_high", "state", "quiet_share"]


def repeated(minutes: float = MINUTES) -> pd.DataFrame:
    """A row for each comparison that has an interval in both runs, the second of which begins after these minutes."""
    part = time.strftime("%Y-%m-%d %H:%M")
    began = time.monotonic()
    first = _one_run()
    time.sleep(max(0.0, began + 60 * minutes - time.monotonic()))
    return held(first, _one_run()).assign(part=part)


def _one_run() -> pd.DataFrame:
    """The summary of a run with the budget of the suite."""
    suite = suites.read_suite(SUITE)
    with tempfile.TemporaryDirectory() as out:
        groups = suite.groups({}, None)
        path = run_suite(suite, groups, suite.measure, out=Path(out), command="", on_progress=lambda step: None)
        return summarize(read_run_times(path))


def held(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Compare the ratios of two summaries of the same cases."""
    both = first[[*KEYS, *VALUES]].merge(second[[*KEYS, *VALUES]], on=KEYS, suffixes=(" first", " second"))
    ends = [f"ratio_{end} {run}" for end in ("low", "high") for run in ("first", "second")]
    is_known = both[ends].notna().all(axis="columns") & both["ratio_low first"].lt(both["ratio_high first"])
    both = both[is_known].copy()
    widths = [np.log(both[f"ratio_high {run}"] / both[f"ratio_low {run}"]) / 2 for run in ("first", "second")]
    apart = np.abs(np.log(both["ratio second"] / both["ratio first"]))
    shared = sum(both[f"state {run}"].eq(SHARED).astype(int) for run in ("first", "second"))
    both["first holds second"] = both["ratio second"].between(both["ratio_low first"], both["ratio_high first"])
    both["second holds first"] = both["ratio first"].between(both["ratio_low second"], both["ratio_high second"])
    both["within both"] = apart <= np.hypot(*widths)
    both["apart"] = apart
    both["half-width"] = np.hypot(*widths) / math.sqrt(2)
    both["on a shared core"] = np.take(["none", "one", "both"], shared)
    return both


def rates(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each part, phase and state of the two runs, and for all together."""
    whole = rows.assign(part="all", phase="", **{"on a shared core": ""})
    keys = ["part", "phase", "on a shared core"]
    table = []
    for key, pairs in pd.concat([rows, whole]).groupby(keys, sort=False):
        number = len(pairs)
        table.append(
            dict(zip(keys, key, strict=True))
            | {"comparisons": number}
            | {name: f"{pairs[name].sum():.0f} of {number}" for name in ("first holds second", "second holds first")}
            | {"within both": f"{pairs['within both'].sum():.0f} of {number}"}
            | {"half-width": f"±{pairs['half-width'].median():.1%}", "apart": f"{pairs['apart'].median():.1%}"}
            | {f"quiet, {run}": f"{pairs[f'quiet_share {run}'].mean():.0%}" for run in ("first", "second")}
        )
    return pd.DataFrame(table)
