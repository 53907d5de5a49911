"""From the times of replicates to one row for each case: time per call, and its ratio to torch.nn, with intervals."""

from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates, from_logs
from rnnbench.analysis.replicate import log_ratios
from rnnbench.analysis.runs.derived import with_derived
from rnnbench.analysis.runs.latency import with_latencies
from rnnbench.analysis.runs.run_times import RunTimes
from rnnbench.store.records import REFERENCES

# A device that never waits either falls further behind the host in a window, by more than the share GAINED of it, or
# its queue is full, which holds at least FULL_QUEUE_SECONDS of work: about 1,000 launches of over a microsecond each.
GAINED, FULL_QUEUE_SECONDS = 0.05, 1e-3


def summarize(times: RunTimes) -> pd.DataFrame:
    """One row for each case of a run, or of several, in their order: what `rnnbench.summarize` returns."""
    cases, replicates = times.cases.reset_index(drop=True), times.replicates
    by_case = replicates.groupby("number")
    counts = by_case[["windows", "calls", "seconds", "host_seconds", "submit_seconds", "waits"]].sum()
    counts["replicates"] = by_case.size()
    waits_for_each_call = cases["caches"].eq("cold") | cases["task"].eq("streaming")
    waits = counts["calls"].where(waits_for_each_call.reindex(counts.index), counts.pop("waits"))
    counts["launch_bound"] = launch_bound(counts, waits)
    counts["submit_share"] = counts.pop("submit_seconds") / counts.pop("host_seconds")
    counts["mean_seconds"] = counts.pop("seconds") / counts["calls"]
    counts = counts.reindex(range(len(cases)))
    for column in ("replicates", "windows", "calls"):
        cases[column] = counts[column].fillna(0).astype(int)
    for column in ("submit_share", "mean_seconds"):
        cases[column] = counts[column].astype(float)
    _estimate(cases, replicates, "log_seconds", "seconds")
    has_reference = cases["reference"].ne("none").any()
    ratios = reference_ratios(replicates) if has_reference else fastest_ratios(replicates)
    _estimate(cases, ratios, "log_ratio", "ratio")
    cases["launch_bound"] = counts["launch_bound"].eq(True)
    return with_derived(with_latencies(cases, replicates))


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


def reference_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """`log_ratio` and `log_mean_ratio` to the group's reference, taken within each replicate, where noise is shared.

    `replicates`: those of `RunTimes`. Cases whose group has no reference are left out.
    """
    visit = ["workload", "replicate"]
    reference = replicates[replicates["implementation"].isin(REFERENCES)][[*visit, "log_quantiles", "log_mean"]]
    return _paired(replicates, reference)


def fastest_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """As `reference_ratios`, to the fastest case of each group, for a frame without references.

    A group with a single case is left out.
    """
    several = replicates.groupby("workload")["number"].transform("nunique") > 1
    means = replicates[several].groupby(["workload", "number"])["log_seconds"].mean()
    fastest = {number for _, number in means.groupby("workload").idxmin()}
    visit = ["workload", "replicate"]
    basis = replicates[replicates["number"].isin(fastest)][[*visit, "log_quantiles", "log_mean"]]
    return _paired(replicates, basis)


def _paired(replicates: pd.DataFrame, basis: pd.DataFrame) -> pd.DataFrame:
    paired = replicates.merge(basis, on=["workload", "replicate"], suffixes=("", "_reference"))
    own, other = (list(paired[f"log_quantiles{side}"]) for side in ("", "_reference"))
    paired["log_ratio"] = log_ratios(np.array(own), np.array(other)) if own else np.empty(0)
    paired["log_mean_ratio"] = paired["log_mean"] - paired["log_mean_reference"]
    return paired


def _estimate(cases: pd.DataFrame, replicates: pd.DataFrame, column: str, name: str) -> None:
    """Estimate on logarithms for each case, and add the values as columns: `name`, `name_low`, `name_high`.

    Only cases of one run borrow from each other.
    """
    values = np.full((len(cases), 3), np.nan)
    for _, of_run in replicates.groupby("run", sort=False, observed=True):
        known, group = np.unique(of_run["number"].to_numpy(), return_inverse=True)
        values[known] = from_logs(estimates(group, of_run[column].to_numpy(dtype=float)))
    cases[[name, f"{name}_low", f"{name}_high"]] = values
