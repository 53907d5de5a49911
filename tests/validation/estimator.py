"""The choice of the estimator: the statistic, window length and number of windows with the least error for its time."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from rnnbench import suites
from rnnbench.analysis.estimate import pooled_quantiles
from rnnbench.expressions import parse_only
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.store.frames.window_frame import QUANTILES as POINTS
from rnnbench.store.records import WORKLOAD_AXES
from rnnbench.suite_file import Settings
from tests.doubles.stored import counted_windows

ONLY = ["cell=vanilla,lstm,gru seq_len=16 hidden_size=64"]
WINDOW_SECONDS = (0.005, 0.01, 0.02, 0.05)
MAX_WINDOWS = 8
WINDOWS = (2, 4, 8)
REPLICATES = 10
QUANTILES = {"minimum": 0.0, "10% quantile": 0.1, "lower quartile": 0.25, "median": 0.5}
START_SECONDS = 1.1
SECONDS = 60.0


def estimators() -> pd.DataFrame:
    """Standard error of a ratio after a minute of the same selection of `quick`, best first."""
    rows = []
    for window_seconds in WINDOW_SECONDS:
        windows, overhead = one_run(window_seconds)
        arms = windows["case"].nunique()
        for count in WINDOWS:
            first = windows[windows["turn"] < count]
            spent = first.groupby(["replicate", "case"])["host_seconds"].sum().mean()
            replicate_seconds = START_SECONDS + arms * (overhead + spent)
            for name, logs in statistics(first).items():
                spread = ratio_spread(logs)
                rows.append(
                    {
                        "statistic": name,
                        "window (ms)": window_seconds * 1e3,
                        "windows": count,
                        "spread over replicates": spread,
                        "standard error after 60 s": spread / np.sqrt(SECONDS / replicate_seconds),
                    }
                )
    return pd.DataFrame(rows).sort_values("standard error after 60 s", ignore_index=True)


def one_run(window_seconds: float) -> tuple[pd.DataFrame, float]:
    """The windows of a run with their turn in the visit, and the seconds of each arm outside its windows."""
    suite = suites.read("quick")
    settings = Settings(replicates=REPLICATES, precision=None, windows=MAX_WINDOWS, window_seconds=window_seconds)
    with tempfile.TemporaryDirectory() as out:
        groups = suite.groups(parse_only(ONLY), None, most=None)
        path = run_suite(suite, groups, settings, out=Path(out), command="", on_progress=lambda step: None)
        windows = counted_windows(path).sort_values(["replicate", "order"])
    windows = windows.assign(turn=windows.groupby(["replicate", "case"]).cumcount())
    later = windows[windows["replicate"] > 0].groupby("replicate")
    spans = later["started"].max() + later["host_seconds"].last() - later["started"].min()
    overhead = (spans - later["host_seconds"].sum()).mean() / windows["case"].nunique()
    return windows.reset_index(drop=True), float(overhead)


def statistics(windows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The log-time of each case in each replicate, by statistic."""
    visits = windows.groupby(["replicate", "case"])
    group = visits.ngroup().to_numpy()
    index = windows.assign(group=group).drop_duplicates("group").sort_values("group")
    index = index[["replicate", "case", "implementation", *WORKLOAD_AXES]].reset_index(drop=True)
    calls, quantiles = windows["calls"].to_numpy(), [row[~np.isnan(row)] for row in windows[list(POINTS)].to_numpy()]
    tables = {
        name: index.assign(log_seconds=np.log(pooled_quantiles(group, quantiles, calls, at)))
        for name, at in QUANTILES.items()
    }
    means = (visits["seconds"].sum() / visits["calls"].sum()).to_numpy()
    return tables | {"mean": index.assign(log_seconds=np.log(means))}


def ratio_spread(logs: pd.DataFrame) -> float:
    """Square root of the cases' median variance, over replicates, of the log-ratio to torch.nn."""
    keys = ["replicate", *WORKLOAD_AXES]
    reference = logs[logs["implementation"] == "torch.nn"].set_index(keys)["log_seconds"].rename("log_reference")
    paired = logs[logs["implementation"] != "torch.nn"].join(reference, on=keys)
    ratios = paired.assign(ratio=paired["log_seconds"] - paired["log_reference"])
    return float(ratios.groupby("case")["ratio"].std().median())
