"""From windows to one row for each case: time per call, and its ratio to torch.nn, with intervals."""

import numpy as np
import pandas as pd

from rnnbench.analysis.derived import with_derived
from rnnbench.analysis.estimate import LOW_QUANTILE, estimate, pooled_quantiles
from rnnbench.store.frame import MEASUREMENT_COLUMNS
from rnnbench.store.records import AXES, REFERENCES

WORKLOAD_AXES = [axis for axis in AXES if axis not in ("cell", "implementation")]
LAUNCH_BOUND = 0.95  # of a window's time: what is left is less than a device that lags behind has queued
CASE_COLUMNS = ["run", "case", *AXES, *MEASUREMENT_COLUMNS, "ceiling", "cold_cache"]


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each case of a frame that `rnnbench.load` gave (or several, concatenated), in their order.

    Beside the case's own columns:

    - `replicates`, `windows`, `calls`: how many it was measured in;
    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval. A replicate's time is the 10%
      quantile of all its calls; the value is the Hodges-Lehmann estimate over replicates, on logarithms;
    - `mean_seconds`: the plain mean over all calls, for what a low quantile can't see;
    - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's torch.nn layer, or of loading item by item, from
      the ratios within each replicate; 1 for the reference itself, NaN where it was not measured;
    - `submit_share`: the share of the windows' time that the host took to queue their calls; `launch_bound`: whether it
      had no time to spare, so that the device waited for it (never on a CPU, which does its calls itself);
    - the derived metrics of `rnnbench.store.metrics.METRICS`, and `bound_by`, what sets the limit of its time:
      `arithmetic`, `memory` or `steps`.

    Each interval covers its own case 95% of the time; none is widened for there being many.
    """
    first = ~frame.duplicated(["run", "case"])
    cases = frame.loc[first, CASE_COLUMNS].reset_index(drop=True)
    windows = complete_visits(frame[frame["replicate"].notna()])
    replicates = replicate_times(windows)
    counts = windows.groupby(["run", "case"]).agg(
        replicates=("replicate", "nunique"),
        windows=("calls", "size"),
        calls=("calls", "sum"),
        total=("seconds", "sum"),
        host=("host_seconds", "sum"),
        submitting=("submit_seconds", "sum"),
    )
    counts["submit_share"] = counts.pop("submitting") / counts.pop("host")
    counts["mean_seconds"] = counts.pop("total") / counts["calls"]
    estimates = pd.concat(
        [
            _estimates(replicates, "log_seconds", "seconds"),
            _estimates(reference_ratios(replicates), "log_ratio", "ratio"),
        ],
        axis=1,
    )
    summary = cases.merge(counts, on=["run", "case"], how="left").merge(estimates, on=["run", "case"], how="left")
    for column in ("replicates", "windows", "calls"):
        summary[column] = summary[column].fillna(0).astype(int)
    # A device that does its calls while it is called has nothing to wait for: its share is 1 to the last bit.
    summary["launch_bound"] = (summary["submit_share"] > LAUNCH_BOUND) & (summary["submit_share"] < 1)
    return with_derived(summary)


def replicate_times(windows: pd.DataFrame) -> pd.DataFrame:
    """Each case's time in each replicate: `log_seconds` of the low quantile of its calls, `log_mean` of their mean.

    Every window brings its order statistics, each with an equal share of the window's calls.
    """
    keys = ["run", "case", "replicate"]
    if windows.empty:
        return pd.DataFrame(columns=[*keys, *WORKLOAD_AXES, "implementation", "log_seconds", "log_mean"])
    group = windows.groupby(keys, sort=False).ngroup().to_numpy()  # numbered in the order in which they appear
    low = pooled_quantiles(group, windows["quantiles"].to_list(), windows["calls"].to_numpy(), LOW_QUANTILE)
    result = windows[[*keys, *WORKLOAD_AXES, "implementation"]].drop_duplicates(keys).reset_index(drop=True)
    result["log_seconds"] = np.log(low)
    totals = windows.groupby(group)[["seconds", "calls"]].sum()
    result["log_mean"] = np.log((totals["seconds"] / totals["calls"]).to_numpy())
    return result


def complete_visits(windows: pd.DataFrame) -> pd.DataFrame:
    """Without the visits that were cut off, by a lost worker or the end of the run, and so are not balanced."""
    made = windows.groupby(["run", "replicate", "worker", *WORKLOAD_AXES])["order"].transform("size")
    return windows[made == windows["turns"]]


def reference_ratios(replicates: pd.DataFrame) -> pd.DataFrame:
    """`log_ratio` and `log_mean_ratio` to the group's reference, taken within each replicate, where noise is shared.

    From the frame that `replicate_times` gives; without the cases whose group has no reference.
    """
    group = ["run", "replicate", *WORKLOAD_AXES]
    reference = replicates[replicates["implementation"].isin(REFERENCES)][[*group, "log_seconds", "log_mean"]]
    paired = replicates.merge(reference, on=group, suffixes=("", "_reference"))
    paired["log_ratio"] = paired["log_seconds"] - paired["log_seconds_reference"]
    paired["log_mean_ratio"] = paired["log_mean"] - paired["log_mean_reference"]
    return paired


def _estimates(values: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    """Estimate on logarithms for each case, given back as values: `name`, `name_low`, `name_high`."""
    groups = values.groupby(["run", "case"])[column]
    found = {case: estimate(logs.to_list()) for case, logs in groups}
    index = pd.MultiIndex.from_tuples(list(found), names=["run", "case"])
    logs = np.array([(one.value, one.low, one.high) for one in found.values()], dtype=float).reshape(-1, 3)
    return pd.DataFrame(np.exp(logs), index=index, columns=[name, f"{name}_low", f"{name}_high"])
