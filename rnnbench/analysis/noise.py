"""How noisy a run was, from its own windows: each arm against itself, and the drift over the run."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import estimates
from rnnbench.analysis.summary import complete_visits, groups, pooled, replicate_times
from rnnbench.store.records import REFERENCES


@dataclass(frozen=True)
class Noise:
    """The noise that a run shows where nothing differs; NaN if it has too little data."""

    floor: float  # half-width of the 95% interval of an arm's ratio to itself, median over cases; 0.01 is 1%
    worst: float  # the same half-width, 95% quantile over cases
    alarms: int  # cases whose interval excludes 1, though nothing differs; about 5% are expected
    cases: int
    drift: float  # time of the references in the last third of the replicates over that in the first, less 1


def noise(frame: pd.DataFrame) -> Noise:
    """The noise of one run, from the frame that `rnnbench.load` gives.

    Every case's windows are dealt out to two pretended arms in the balanced order in which real arms take turns. A real
    ratio may be more precise, since each of its arms has twice as many windows, or less, since two cases also differ in
    how their memory lies, which changes from process to process.
    """
    windows = complete_visits(frame)
    ratios = self_ratios(windows)
    intervals = estimates(ratios["number"].to_numpy(), ratios["log_ratio"].to_numpy())
    intervals = intervals[~np.isnan(intervals).any(axis=1)]  # a single replicate shows no spread
    _, low, high = intervals.T
    widths = (high - low) / 2
    return Noise(
        floor=float(np.expm1(np.median(widths))) if len(widths) else float("nan"),
        worst=float(np.expm1(np.quantile(widths, 0.95))) if len(widths) else float("nan"),
        alarms=int(((low > 0) | (high < 0)).sum()),
        cases=len(intervals),
        drift=_drift(windows),
    )


def self_ratios(windows: pd.DataFrame) -> pd.DataFrame:
    """Columns `number` (of the case), `replicate`, `log_ratio`: one half of a visit's windows over the other half.

    `windows`: from `complete_visits`.
    """
    visit, firsts = groups(windows, ["number", "replicate"])
    replicate = windows["replicate"].to_numpy(dtype=int)
    # ABBA: the first of a pair of turns goes to one arm, in the next pair to the other, and so on over replicates.
    turn = _places(visit, windows["order"].to_numpy())
    arm = (turn % 2 + turn // 2 + replicate) % 2
    sides, of_side = np.unique(2 * visit + arm, return_inverse=True)
    logs = np.full((len(firsts), 2), np.nan)
    logs[sides // 2, sides % 2] = np.log(pooled(windows, of_side))
    ratios = windows[["number", "replicate"]].iloc[firsts].assign(log_ratio=logs[:, 1] - logs[:, 0])
    return ratios[ratios["log_ratio"].notna()]


def _places(group: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The index of each row among those of its group, by `order`: 0, 1, 2, ..."""
    rows = np.lexsort((order, group))
    ordered = group[rows]
    indices = np.empty(len(rows), dtype=np.int64)
    indices[rows] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return indices


def _drift(windows: pd.DataFrame) -> float:
    """The change of each reference from the first third of its replicates to the last; the median over cases."""
    times = replicate_times(windows[windows["implementation"].isin(REFERENCES)])
    number, logs = times["number"].to_numpy(), times["log_seconds"].to_numpy()
    if not len(number):
        return float("nan")
    index, count = _places(number, times["replicate"].to_numpy()), np.bincount(number)
    third = count // 3
    first, last = index < third[number], index >= (count - third)[number]
    sums = [np.bincount(number[which], logs[which], minlength=len(count)) for which in (first, last)]
    known = third > 0
    changes = (sums[1][known] - sums[0][known]) / third[known]
    return float(np.expm1(np.median(changes))) if len(changes) else float("nan")
