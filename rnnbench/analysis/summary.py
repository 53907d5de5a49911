"""From the times of replicates to one row for each case: time per call, ratio to the reference, noise, drift."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.derived import with_derived
from rnnbench.analysis.estimate import estimates, from_logs, log_ratios
from rnnbench.analysis.latency import with_latencies
from rnnbench.analysis.run_times import RunTimes
from rnnbench.store.records import REFERENCES

# A device that never waits either falls further behind the host in a window, by more than the share GAINED of it, or
# its queue is full, which holds at least FULL_QUEUE_SECONDS of work: about 1,000 launches of over a microsecond each.
GAINED, FULL_QUEUE_SECONDS = 0.05, 1e-3


def summarize(times: RunTimes) -> pd.DataFrame:
    """Return one row for each case of a run, or of several, in their order: what `rnnbench.summarize` returns."""
    cases, replicates = times.cases.reset_index(drop=True), times.replicates
    by_case = replicates.groupby("number")
    totals = by_case[["windows", "calls", "seconds", "host_seconds", "submit_seconds", "waits"]].sum()
    totals["replicates"] = by_case.size()
    totals = totals.reindex(range(len(cases)))
    for column in ("replicates", "windows", "calls"):
        cases[column] = totals[column].fillna(0).astype(int)
    cases["submit_share"] = (totals["submit_seconds"] / totals["host_seconds"]).astype(float)
    cases["mean_seconds"] = (totals["seconds"] / totals["calls"]).astype(float)
    _estimate(cases, replicates, "log_seconds", "seconds")
    _estimate(cases, ratios(times), "log_ratio", "ratio")
    # A host waits at the end of a window, or after each call if the calls are cold or the steps of a stream.
    waits_for_each_call = cases["caches"].eq("cold") | cases["task"].eq("streaming")
    cases["launch_bound"] = launch_bound(totals, totals["calls"].where(waits_for_each_call, totals["waits"]))
    return with_derived(with_latencies(cases, replicates))


def launch_bound(totals: pd.DataFrame, waits: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return whether the host kept the device waiting, from the sums over each case's windows.

    `waits`: how often the host waited for the device. The time that it waited is how far it was ahead. At the start of
    a window it was ahead by `host_seconds - seconds`, since the call before the clocked ones was still running, so in
    the window it gained `seconds - submit_seconds`. A host that lags gains nothing, and at the end only the last kernel
    is left, however long, but not a full queue.
    """
    ahead = (totals["host_seconds"] - totals["submit_seconds"]) / waits
    gained = (totals["seconds"] - totals["submit_seconds"]) / totals["seconds"]
    # If the device runs each call before it returns, the host never waits: then it is ahead by exactly zero.
    return (ahead > 0) & (ahead < FULL_QUEUE_SECONDS) & (gained < GAINED)


def ratios(times: RunTimes) -> pd.DataFrame:
    """Return `reference_ratios`; without any reference the ratios to the fastest case of each group.

    A group with a single case is then left out.
    """
    replicates = times.replicates
    if times.cases["reference"].ne("none").any():
        return reference_ratios(replicates)
    several = replicates.groupby("workload")["number"].transform("nunique") > 1
    means = replicates[several].groupby(["workload", "number"])["log_seconds"].mean()
    fastest = {number for _, number in means.groupby("workload").idxmin()}
    return _ratios(replicates, replicates["number"].isin(fastest))


def reference_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """Return `log_ratio` and `log_mean_ratio` to the group's reference, within each replicate, where noise is shared.

    `replicates`: those of `RunTimes`. Cases whose group has no reference are left out.
    """
    return _ratios(replicates, replicates["implementation"].isin(REFERENCES))


def _ratios(replicates: pd.DataFrame, is_basis: "pd.Series[bool]") -> pd.DataFrame:
    visit = ["workload", "replicate"]
    basis = replicates.loc[is_basis, [*visit, "log_quantiles", "log_mean"]]
    paired = replicates.merge(basis, on=visit, suffixes=("", "_reference"))
    paired["log_ratio"] = log_ratios(*(list(paired[f"log_quantiles{side}"]) for side in ("", "_reference")))
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


@dataclass(frozen=True)
class Noise:
    """The noise that a run shows where nothing differs; NaN if it has too little data."""

    floor: float  # half-width of the 95% interval of an arm's ratio to itself, median over cases; 0.01 is 1%
    worst: float  # the same half-width, 95% quantile over cases
    cases: int
    drift: float  # time of the references in the last third of the replicates over that in the first, less 1


def noise(times: RunTimes) -> Noise:
    """Return the noise of one run, from its own windows: each arm against itself, and the drift over the run.

    Every case's windows are dealt out to two pretended arms in the balanced order in which real arms take turns. A real
    ratio may be more precise, since each of its arms has twice as many windows, or less, since two cases also differ in
    how their memory lies, which changes from process to process. The drift is the median over the references.
    """
    itself = times.replicates[times.replicates["self_log_ratio"].notna()]
    intervals = estimates(itself["number"].to_numpy(dtype=np.int64), itself["self_log_ratio"].to_numpy(dtype=float))
    intervals = intervals[~np.isnan(intervals).any(axis=1)]  # a single replicate shows no spread
    _, low, high = intervals.T
    halves = (high - low) / 2 if len(intervals) else np.array([np.nan])
    floor, worst = (float(np.expm1(half)) for half in (np.median(halves), np.quantile(halves, 0.95)))
    references = times.replicates[times.replicates["implementation"].isin(REFERENCES)]
    number, logs = references["number"].to_numpy(dtype=np.int64), references["log_seconds"].to_numpy()
    place = references.groupby("number")["replicate"].rank(method="first").to_numpy() - 1
    count = np.bincount(number)
    third = count // 3
    first, last = (
        np.bincount(number, np.where(is_in, logs, 0.0))[third > 0]
        for is_in in (place < third[number], place >= (count - third)[number])
    )
    changes = (last - first) / third[third > 0]
    drift = float(np.expm1(np.median(changes))) if len(changes) else np.nan
    return Noise(floor, worst, len(intervals), drift)
