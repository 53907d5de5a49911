"""The time of a case in one replicate, and the ratio of two cases that took turns.

A shared machine has states: a fixed call takes 0.46 ms for a tenth of a second, then 0.60 ms. The ratio of two cases is
the Hodges-Lehmann shift between the logarithms of their times: the median of all differences between their quantiles,
which compares each state of the machine with itself (Hodges & Lehmann 1963, doi:10.1214/aoms/1177704172).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnbench.analysis.estimate import alike
from rnnbench.store.records import Window

LEVELS = (np.arange(49) + 0.5) / 49  # of the quantiles that stand for the calls of a case
MIDDLE = len(LEVELS) // 2
MAX_AT_ONCE = 1 << 6  # pairs of cases, whose differences then fit the cache


@dataclass(frozen=True)
class Times:
    """The times of a case's calls in one replicate."""

    log_quantiles: np.ndarray  # (49,) of the seconds per call
    mean: float  # seconds; it also shows what slows only some calls

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.exp(self.log_quantiles[MIDDLE]))


def log_ratio(case: Times, reference: Times) -> float:
    """The logarithm of the ratio of two cases that took turns."""
    return float(log_ratios([case.log_quantiles], [reference.log_quantiles])[0])


def log_ratios(cases: np.ndarray | list[np.ndarray], references: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """`log_ratio` of each case's quantiles to those of the same place among others: n of (49,) each -> (n,)."""
    shifts = np.empty(len(cases))
    middle = len(LEVELS) ** 2 // 2
    for first in range(0, len(cases), MAX_AT_ONCE):
        rows = slice(first, first + MAX_AT_ONCE)
        differences = np.array(cases[rows])[:, :, None] - np.array(references[rows])[:, None, :]
        differences = differences.reshape(-1, len(LEVELS) ** 2)
        differences.partition(middle, axis=1)  # a tenth of the time of `np.median`, which looks for NaN
        shifts[rows] = differences[:, middle]
    return shifts


def log_quantiles(groups: np.ndarray, sizes: np.ndarray, seconds: np.ndarray, calls: np.ndarray) -> np.ndarray:
    """The logarithms of the quantiles of the calls of each group of windows, for group numbers 0, 1, 2, ...: (n, 49).

    `seconds` has the order statistics of all windows, one window after another, and `sizes` how many each has. They
    stand for equal shares of its `calls`.
    """
    result = np.full((groups.max(initial=-1) + 1, len(LEVELS)), np.nan)
    weights = np.repeat(calls / sizes, sizes)
    for part, members in alike(np.repeat(groups, sizes), lambda size: size * len(LEVELS)):
        points = seconds[members]  # (groups, points of each)
        order = np.argsort(points, axis=1)
        upto = np.cumsum(np.take_along_axis(weights[members], order, axis=1), axis=1)
        row = np.arange(len(part))[:, None]  # added to the shares, so that one search serves all rows
        first = np.searchsorted((upto / upto[:, -1:] + row).ravel(), (LEVELS - 1e-9 + row).ravel())
        points = np.take_along_axis(points, order, axis=1).ravel()[first]
        result[part] = np.log(points).reshape(-1, len(LEVELS))
    return result


def pooled_times(quantiles: Sequence[Sequence[float]], calls: Sequence[int], seconds: Sequence[float]) -> Times:
    """The times of a case from the order statistics, the number of calls and the total seconds of its windows.

    `rnnbench.analysis.run_times.reduced` does the same for a whole frame at once.
    """
    sizes, points = [len(each) for each in quantiles], [value for each in quantiles for value in each]
    [logs] = log_quantiles(np.zeros(len(calls), dtype=int), np.array(sizes), np.array(points), np.array(calls))
    return Times(logs, sum(seconds) / sum(calls))


def times_by_case(windows: Iterable[Window]) -> dict[str, Times]:
    """The times of each case (by its key) from all windows of one visit."""
    cases: dict[str, list[Window]] = {}
    for window in windows:
        cases.setdefault(window.case, []).append(window)
    return {
        case: pooled_times(
            [each.quantiles for each in own], [each.calls for each in own], [each.seconds for each in own]
        )
        for case, own in cases.items()
    }
