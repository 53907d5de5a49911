"""The times of a case's calls in one replicate, and the ratio of two cases that took turns.

**A shared machine has states**: a fixed call takes 0.46 ms for a tenth of a second, then 0.60 ms. The ratio of two
cases that took turns (`log_ratios`) is the Hodges-Lehmann shift between the logarithms of their times: the median of
all differences between their quantiles, which compares each state of the machine with itself (Hodges & Lehmann 1963,
doi:10.1214/aoms/1177704172).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from rnnbench.analysis.estimate import alike
from rnnbench.analysis.quiet import QuietBlocks, counted_blocks, low_quantiles
from rnnbench.store.records import Window

LEVELS = (np.arange(49) + 0.5) / 49  # of the quantiles that stand for the calls of a case
MIDDLE = len(LEVELS) // 2
MAX_AT_ONCE = 1 << 6  # pairs of cases, whose differences then fit the cache


@dataclass(frozen=True)
class Times:
    """The times of a case's calls in one replicate."""

    log_quantiles: np.ndarray  # (49,) of the seconds per call
    mean: float  # seconds; it also shows what slows only some calls
    quiet: QuietBlocks | None = None  # None: none was quiet, or none is known to be
    blocks: int = 0  # quiet or not

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.exp(self.log_quantiles[MIDDLE]))


def log_ratio(case: Times, reference: Times) -> float:
    """Return the logarithm of the ratio of two cases that took turns."""
    return float(log_ratios([case.log_quantiles], [reference.log_quantiles])[0])


def undisturbed_log_ratio(case: Times, reference: Times) -> tuple[float, int]:
    """Return the log-ratio of two cases by their quiet blocks, and as how many each counts; NaN and 0 if too few."""
    if case.quiet is None or reference.quiet is None:
        return math.nan, 0
    counted = counted_blocks(np.array([case.quiet.blocks]), np.array([reference.quiet.blocks]))
    [ratio] = low_quantiles((case.quiet.logs - reference.quiet.logs)[None], counted)
    return float(ratio), int(counted[0])


def log_ratios(cases: np.ndarray | list[np.ndarray], references: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Return the `log_ratio` of each case to the reference at the same place: n quantiles of (49,) each -> (n,)."""
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
    """Return the logarithms of the quantiles of the calls of each group of windows, numbered 0, 1, 2, ...: (n, 49).

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


def pooled_times(
    quantiles: Sequence[Sequence[float]],
    calls: Sequence[int],
    seconds: Sequence[float],
    quiet: QuietBlocks | None = None,
    blocks: int = 0,
) -> Times:
    """Return the times of a case from the order statistics, the number of calls and the total seconds of its windows.

    `rnnbench.analysis.run_times.reduced` does the same for a whole frame at once.
    """
    sizes = [len(each) for each in quantiles]
    points = [*chain(*quantiles)]
    [logs] = log_quantiles(np.zeros(len(calls), dtype=int), np.array(sizes), np.array(points), np.array(calls))
    return Times(logs, sum(seconds) / sum(calls), quiet, blocks)


def quiet_share(windows: Sequence[Window]) -> float | None:
    """Return the share of the pulses of some windows that were quiet; None if they had no pulses."""
    pulses = sum(window.pulses or 0 for window in windows)
    return sum(window.quiet_pulses or 0 for window in windows) / pulses if pulses else None


def times_by_case(windows: Iterable[Window]) -> dict[str, Times]:
    """Return the times of each case (by its key) from all windows of one visit."""
    cases: dict[str, list[Window]] = {}
    for window in windows:
        cases.setdefault(window.case, []).append(window)
    return {
        case: pooled_times(
            [each.quantiles for each in windows_of_case],
            [each.calls for each in windows_of_case],
            [each.seconds for each in windows_of_case],
            QuietBlocks.from_windows(
                [each.quiet_low for each in windows_of_case],
                [each.quiet_blocks for each in windows_of_case],
                [each.quiet_seconds or 0.0 for each in windows_of_case],
            ),
            sum(each.calls // each.batch for each in windows_of_case),
        )
        for case, windows_of_case in cases.items()
    }
