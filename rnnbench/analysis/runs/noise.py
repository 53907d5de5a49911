"""How noisy a run was, from its own windows: each arm against itself, and the drift over the run."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates
from rnnbench.analysis.runs.run_times import RunTimes
from rnnbench.analysis.runs.visits import places
from rnnbench.store.records import REFERENCES


@dataclass(frozen=True)
class Noise:
    """The noise that a run shows where nothing differs; NaN if it has too little data."""

    floor: float  # half-width of the 95% interval of an arm's ratio to itself, median over cases; 0.01 is 1%
    worst: float  # the same half-width, 95% quantile over cases
    alarms: int  # cases whose interval excludes 1, though nothing differs; about 5% are expected
    cases: int
    drift: float  # time of the references in the last third of the replicates over that in the first, less 1


def noise(times: RunTimes) -> Noise:
    """The noise of one run.

    Every case's windows are dealt out to two pretended arms in the balanced order in which real arms take turns. A real
    ratio may be more precise, since each of its arms has twice as many windows, or less, since two cases also differ in
    how their memory lies, which changes from process to process.
    """
    ratios = times.replicates.loc[times.replicates["self_log_ratio"].notna(), ["number", "self_log_ratio"]]
    intervals = estimates(ratios["number"].to_numpy(dtype=np.int64), ratios["self_log_ratio"].to_numpy(dtype=float))
    intervals = intervals[~np.isnan(intervals).any(axis=1)]  # a single replicate shows no spread
    _, low, high = intervals.T
    widths = (high - low) / 2
    return Noise(
        floor=float(np.expm1(np.median(widths))) if len(widths) else float("nan"),
        worst=float(np.expm1(np.quantile(widths, 0.95))) if len(widths) else float("nan"),
        alarms=int(((low > 0) | (high < 0)).sum()),
        cases=len(intervals),
        drift=_drift(times.replicates),
    )


def _drift(replicates: pd.DataFrame) -> float:
    """The change of each reference from the first third of its replicates to the last; the median over cases."""
    times = replicates[replicates["implementation"].isin(REFERENCES)]
    number, logs = times["number"].to_numpy(dtype=np.int64), times["log_seconds"].to_numpy()
    if not len(number):
        return float("nan")
    index, count = places(number, times["replicate"].to_numpy()), np.bincount(number)
    third = count // 3
    first, last = index < third[number], index >= (count - third)[number]
    sums = [np.bincount(number[which], logs[which], minlength=len(count)) for which in (first, last)]
    known = third > 0
    changes = (sums[1][known] - sums[0][known]) / third[known]
    return float(np.expm1(np.median(changes))) if len(changes) else float("nan")
