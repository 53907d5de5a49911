"""From windows to one row for each case: time per call, and its ratio to torch.nn, with intervals."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench.analysis.derived import with_derived
from rnnbench.analysis.estimate import LOW_QUANTILE, estimates, from_logs, pooled_points
from rnnbench.store.frame import MEASUREMENT_COLUMNS
from rnnbench.store.records import AXES, REFERENCES, WORKLOAD_AXES

# A device that is never kept waiting either falls further behind the host in a window, by more than this share of it,
# or its queue is full, which holds at least so much work: some 1,000 launches of more than a microsecond each.
GAINED, FULL_QUEUE_SECONDS = 0.05, 1e-3
CASE_COLUMNS = ["run", "case", *AXES, *MEASUREMENT_COLUMNS, "ceiling", "cold_cache"]
# What is needed of a window; its axes are its case's, and would be most of the memory.
KEYS = ["run", "case", "implementation", "number", "workload", "replicate"]  # of a case in one replicate
TIMED = ["run", "case", "implementation", "status", "replicate", "worker", "order", "turns", "calls"]
TIMED += ["seconds", "host_seconds", "submit_seconds", "quantiles"]


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each case of a frame that `rnnbench.load` gave (or several, concatenated), in their order.

        summary = rnnbench.summarize(rnnbench.load("results/quick-20260101T120000Z-ab12"))
        summary.set_index("case")[["seconds", "ratio", "ratio_low", "ratio_high"]]

    `frame` has all of its columns; KeyError where one is missing. Beside the case's own columns:

    - `replicates`, `windows`, `calls`: how many it was measured in;
    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval. A replicate's time is the 10%
      quantile of all its calls; the value is the Hodges-Lehmann estimate over replicates, on logarithms;
    - `mean_seconds`: the plain mean over all calls, for what a low quantile can't see;
    - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's torch.nn layer, or of loading item by item, from
      the ratios within each replicate; 1 for the reference itself, NaN where it was not measured;
    - `submit_share`: the share of the windows' time that the host took to queue their calls; `launch_bound`: whether it
      did not get ahead of the device, so that the device waited for it (never on a CPU, which does its calls itself);
    - the derived metrics (`rnnbench list metrics`), and `bound_by`, what sets the limit of its time:
      `arithmetic`, `memory` or `steps`.

    Each interval covers its own case 95% of the time; none is widened for there being many.
    """
    _, firsts = numbers(frame)
    cases = frame.iloc[firsts][CASE_COLUMNS].reset_index(drop=True)
    windows = complete_visits(frame)
    replicates = replicate_times(windows)
    counts = windows.groupby("number")[["calls", "seconds", "host_seconds", "submit_seconds"]].sum()
    counts["windows"] = windows.groupby("number").size()
    counts["replicates"] = replicates.groupby("number").size()
    is_cold = cases["cold_cache"].reindex(counts.index).eq(True)
    counts["launch_bound"] = launch_bound(counts, counts["calls"].where(is_cold, counts["windows"]))
    counts["submit_share"] = counts.pop("submit_seconds") / counts.pop("host_seconds")
    counts["mean_seconds"] = counts.pop("seconds") / counts["calls"]
    counts = counts.reindex(range(len(cases)))
    for column in ("replicates", "windows", "calls"):
        cases[column] = counts[column].fillna(0).astype(int)
    for column in ("submit_share", "mean_seconds"):
        cases[column] = counts[column]
    _estimate(cases, replicates, "log_seconds", "seconds")
    _estimate(cases, reference_ratios(replicates), "log_ratio", "ratio")
    cases["launch_bound"] = counts["launch_bound"].eq(True)
    return with_derived(cases)


def launch_bound(totals: pd.DataFrame, waits: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whether the host kept the device waiting, from the sums over each case's windows.

    `waits`: how often the host waited for the device in them, which is at the end of a warm window and after every cold
    call. How far it was ahead by then is what it waited. At the start it was ahead by `host_seconds - seconds`, since
    the call before the clocked ones was still running, so that it gained `seconds - submit_seconds` in the window. A
    host that lags gains nothing, and at the end leaves the last kernel, however long, but not a full queue.
    """
    ahead = (totals["host_seconds"] - totals["submit_seconds"]) / waits
    gained = (totals["seconds"] - totals["submit_seconds"]) / totals["seconds"]
    # A device that does its calls while it is called has nothing to wait for: the host is never ahead, to the last bit.
    return (ahead > 0) & (ahead < FULL_QUEUE_SECONDS) & (gained < GAINED)


def numbers(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """A number for the case and run of each row, in the order in which they come; and the first row of each."""
    case, run = (pd.factorize(frame[column])[0] for column in ("case", "run"))
    number, _ = pd.factorize(case.astype(np.int64) * (run.max(initial=0) + 1) + run)
    return number, np.unique(number, return_index=True)[1]


def complete_visits(frame: pd.DataFrame) -> pd.DataFrame:
    """The windows of a frame that `rnnbench.load` gave, with the `number` of their case and that of their `workload`.

    Without the visits that were cut off, by a lost worker or the end of the run, and so are not balanced; and without
    the cases that are not measured: one that works twice and then fails has no time, though its windows are kept.
    """
    number, firsts = numbers(frame)
    workloads = frame.iloc[firsts].groupby(["run", *WORKLOAD_AXES], dropna=False).ngroup()
    windows = frame[TIMED].assign(number=number, workload=workloads.to_numpy()[number])
    if frame["replicate"].isna().any():
        windows = windows[frame["replicate"].notna()]
    made = windows.groupby(["workload", "replicate", "worker"])["order"].transform("size")
    counts = (made == windows["turns"]) & (windows["status"] == "measured")
    return windows if counts.all() else windows[counts]


def replicate_times(windows: pd.DataFrame) -> pd.DataFrame:
    """Each case's time in each replicate: `log_seconds` of the low quantile of its calls, `log_mean` of their mean.

    From the windows that `complete_visits` gives. Every window brings its order statistics, each with an equal share of
    the window's calls.
    """
    group, firsts = groups(windows, ["number", "replicate"])
    result = windows[KEYS].iloc[firsts].reset_index(drop=True)
    result["log_seconds"] = np.log(pooled(windows, group))
    totals = windows.groupby(group)[["seconds", "calls"]].sum()
    result["log_mean"] = np.log((totals["seconds"] / totals["calls"]).to_numpy(dtype=float))
    return result


def groups(windows: pd.DataFrame, keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """A number for each row, the same for rows that have the same `keys`, and the first row of each."""
    group = windows.groupby(keys, sort=False).ngroup().to_numpy()  # numbered in the order in which they appear
    return group, np.unique(group, return_index=True)[1]


def pooled(windows: pd.DataFrame, group: np.ndarray) -> np.ndarray:
    """The low quantile of the calls of each group of windows: seconds."""
    points: Any = pa.array(windows["quantiles"], pa.list_(pa.float64()))
    lists = points.combine_chunks() if isinstance(points, pa.ChunkedArray) else points
    sizes, seconds = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    return pooled_points(group, sizes, seconds, windows["calls"].to_numpy(dtype=float), LOW_QUANTILE)


def reference_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """`log_ratio` and `log_mean_ratio` to the group's reference, taken within each replicate, where noise is shared.

    From the frame that `replicate_times` gives; without the cases whose group has no reference.
    """
    visit = ["workload", "replicate"]
    reference = replicates[replicates["implementation"].isin(REFERENCES)][[*visit, "log_seconds", "log_mean"]]
    paired = replicates.merge(reference, on=visit, suffixes=("", "_reference"))
    paired["log_ratio"] = paired["log_seconds"] - paired["log_seconds_reference"]
    paired["log_mean_ratio"] = paired["log_mean"] - paired["log_mean_reference"]
    return paired


def _estimate(cases: pd.DataFrame, replicates: pd.DataFrame, column: str, name: str) -> None:
    """Estimate on logarithms for each case, put beside it as values: `name`, `name_low`, `name_high`."""
    found = np.full((len(cases), 3), np.nan)
    if len(replicates):
        known = estimates(replicates["number"].to_numpy(), replicates[column].to_numpy(dtype=float))
        found[: len(known)] = from_logs(known)
    cases[[name, f"{name}_low", f"{name}_high"]] = found
