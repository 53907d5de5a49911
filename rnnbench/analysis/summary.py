"""From windows to one row for each case: time per call, and its ratio to torch.nn, with intervals."""

from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.derived import with_derived
from rnnbench.analysis.estimate import LOW_QUANTILE, estimates, from_logs, pooled_points
from rnnbench.analysis.latency import with_latencies
from rnnbench.store.frame import MEASUREMENT_COLUMNS, order_statistics
from rnnbench.store.records import AXES, REFERENCES, WORKLOAD_AXES

# A device that never waits either falls further behind the host in a window, by more than the share GAINED of it, or
# its queue is full, which holds at least FULL_QUEUE_SECONDS of work: about 1,000 launches of over a microsecond each.
GAINED, FULL_QUEUE_SECONDS = 0.05, 1e-3
CASE_COLUMNS = ["run", "case", *AXES, *MEASUREMENT_COLUMNS, "ceiling", "period_seconds"]
# The columns that are needed of a window; its axes are those of its case, and would take most of the memory.
KEYS = ["run", "case", "implementation", "number", "workload", "replicate"]  # of a case in one replicate
TIMED = ["run", "case", "implementation", "status", "replicate", "worker", "order", "turns", "calls"]
TIMED += ["seconds", "host_seconds", "submit_seconds", "quantiles"]


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each case of a frame that `rnnbench.load` gave (or several, concatenated), in their order.

        summary = rnnbench.summarize(rnnbench.load("results/quick-20260101T120000Z-ab12"))
        summary.set_index("case")[["seconds", "ratio", "ratio_low", "ratio_high"]]

    `frame` has all of its columns; raises KeyError if one is missing. Beside the case's own columns:

    - `replicates`, `windows`, `calls`: how many it was measured in;
    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval. A replicate's time is the 10%
      quantile of all its calls; the value is the Hodges-Lehmann estimate over replicates, on logarithms;
    - `mean_seconds`: the plain mean over all calls, for what a low quantile can't see;
    - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's torch.nn layer, or of loading item by item, from
      the ratios within each replicate; 1 for the reference itself, NaN if it was not measured. If no case has a
      reference, it is over the time of the fastest case of its group, which is 1;
    - `submit_share`: the share of the windows' time that the host took to queue their calls; `launch_bound`: whether it
      did not get ahead of the device, so that the device waited for it (never on a CPU, which runs its calls itself);
    - of a run with streams, the latency of their steps: `latency_p50` to `latency_p99_9` and `late_share`, with
      intervals (`rnnbench.analysis.latency`);
    - the derived metrics (`rnnbench list metrics`), and `bound_by`, what sets the limit of its time:
      `arithmetic`, `memory`, `weights` (read in every step) or `steps`.

    Each interval covers its own case 95% of the time; none is widened because there are many. Below ten replicates the
    variances of the cases of a run borrow from each other, so a part of a frame may have slightly other intervals.
    """
    _, firsts = numbers(frame)
    cases = frame.iloc[firsts][CASE_COLUMNS].reset_index(drop=True)
    windows = complete_visits(frame)
    replicates = replicate_times(windows)
    counts = windows.groupby("number")[["calls", "seconds", "host_seconds", "submit_seconds"]].sum()
    counts["windows"] = windows.groupby("number").size()
    counts["replicates"] = replicates.groupby("number").size()
    waits_for_each_call = cases["caches"].eq("cold") | cases["task"].eq("streaming")
    waits = counts["calls"].where(waits_for_each_call.reindex(counts.index), counts["windows"])
    counts["launch_bound"] = launch_bound(counts, waits)
    counts["submit_share"] = counts.pop("submit_seconds") / counts.pop("host_seconds")
    counts["mean_seconds"] = counts.pop("seconds") / counts["calls"]
    counts = counts.reindex(range(len(cases)))
    for column in ("replicates", "windows", "calls"):
        cases[column] = counts[column].fillna(0).astype(int)
    for column in ("submit_share", "mean_seconds"):
        cases[column] = counts[column]
    _estimate(cases, replicates, "log_seconds", "seconds")
    has_reference = cases["reference"].ne("none").any()
    ratios = reference_ratios(replicates) if has_reference else fastest_ratios(replicates)
    _estimate(cases, ratios, "log_ratio", "ratio")
    cases["launch_bound"] = counts["launch_bound"].eq(True)
    return with_derived(with_latencies(cases, windows))


def launch_bound(totals: pd.DataFrame, waits: "pd.Series[Any]") -> "pd.Series[Any]":
    """Whether the host kept the device waiting, from the sums over each case's windows.

    `waits`: how often the host waited for the device: at the end of a window, or after each call if the calls are cold
    or the steps of a stream.
    The time that it waited is how far it was ahead. At the start of a window it was ahead by `host_seconds - seconds`,
    since the call before the clocked ones was still running, so in the window it gained `seconds - submit_seconds`. A
    host that lags gains nothing, and at the end only the last kernel is left, however long, but not a full queue.
    """
    ahead = (totals["host_seconds"] - totals["submit_seconds"]) / waits
    gained = (totals["seconds"] - totals["submit_seconds"]) / totals["seconds"]
    # If the device runs each call before it returns, the host never waits: then it is ahead by exactly zero.
    return (ahead > 0) & (ahead < FULL_QUEUE_SECONDS) & (gained < GAINED)


def numbers(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """A number for the case and run of each row, in order of appearance, and the first row of each number."""
    case, run = (pd.factorize(frame[column])[0] for column in ("case", "run"))
    number, _ = pd.factorize(case.astype(np.int64) * (run.max(initial=0) + 1) + run)
    return number, np.unique(number, return_index=True)[1]


def complete_visits(frame: pd.DataFrame) -> pd.DataFrame:
    """The windows of a frame that `rnnbench.load` gave, with the `number` of their case and that of their `workload`.

    Left out are visits that were cut off, by a lost worker or the end of the run, since they are not balanced, and
    cases that are not measured: one that works twice and then fails has no time, though its windows are kept.
    """
    number, firsts = numbers(frame)
    workloads = frame.iloc[firsts].groupby(["run", *WORKLOAD_AXES], dropna=False).ngroup()
    windows = frame[TIMED].assign(number=number, workload=workloads.to_numpy()[number])
    if frame["replicate"].isna().any():
        windows = windows[frame["replicate"].notna()]
    sizes = windows.groupby(["workload", "replicate", "worker"])["order"].transform("size")
    counts = (sizes == windows["turns"]) & (windows["status"] == "measured")
    return windows if counts.all() else windows[counts]


def replicate_times(windows: pd.DataFrame) -> pd.DataFrame:
    """Each case's time in each replicate: `log_seconds` of the low quantile of its calls, `log_mean` of their mean.

    `windows`: from `complete_visits`. Every window has order statistics, each of which stands for an equal share of the
    window's calls.
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
    lists = order_statistics(windows)
    sizes, seconds = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    return pooled_points(group, sizes, seconds, windows["calls"].to_numpy(dtype=float), LOW_QUANTILE)


def reference_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """`log_ratio` and `log_mean_ratio` to the group's reference, taken within each replicate, where noise is shared.

    `replicates`: from `replicate_times`. Cases whose group has no reference are left out.
    """
    visit = ["workload", "replicate"]
    reference = replicates[replicates["implementation"].isin(REFERENCES)][[*visit, "log_seconds", "log_mean"]]
    return _paired(replicates, reference)


def fastest_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """As `reference_ratios`, to the fastest case of each group, for a frame without references.

    A group with a single case is left out.
    """
    several = replicates.groupby("workload")["number"].transform("nunique") > 1
    means = replicates[several].groupby(["workload", "number"])["log_seconds"].mean()
    fastest = {number for _, number in means.groupby("workload").idxmin()}
    visit = ["workload", "replicate"]
    basis = replicates[replicates["number"].isin(fastest)][[*visit, "log_seconds", "log_mean"]]
    return _paired(replicates, basis)


def _paired(replicates: pd.DataFrame, basis: pd.DataFrame) -> pd.DataFrame:
    paired = replicates.merge(basis, on=["workload", "replicate"], suffixes=("", "_reference"))
    paired["log_ratio"] = paired["log_seconds"] - paired["log_seconds_reference"]
    paired["log_mean_ratio"] = paired["log_mean"] - paired["log_mean_reference"]
    return paired


def _estimate(cases: pd.DataFrame, replicates: pd.DataFrame, column: str, name: str) -> None:
    """Estimate on logarithms for each case, and add the values as columns: `name`, `name_low`, `name_high`.

    Only cases of one run borrow from each other.
    """
    values = np.full((len(cases), 3), np.nan)
    for _, of_run in replicates.groupby("run", sort=False):
        known, group = np.unique(of_run["number"].to_numpy(), return_inverse=True)
        values[known] = from_logs(estimates(group, of_run[column].to_numpy(dtype=float)))
    cases[[name, f"{name}_low", f"{name}_high"]] = values
