"""How much a case's ratio differs from run to run while its code stays the same.

Each run has a bias of its own for each case, from the memory layout and the state of the machine that day, and the next
run may share some of it. Variance and correlation of the bias are estimated over all cases, from the differences of
runs that are one, two and more runs apart. Few differences say little of the correlation, and false changes follow if
it is taken as too small, so it is drawn towards `ASSUMED_CORRELATION`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnbench.analysis.location import Location

LOWER_SHARE = 0.6  # of squared differences, whose mean a few real changes don't move
LOWER_SHARE_OF_VARIANCE = 0.2146  # what that mean is of the variance, for a normal distribution
# Points of the longest line for each run between the points of a pair: few pairs that close have a step between them.
POINTS_OVER_LAG = 5
MAX_CORRELATION = 0.9  # of neighbouring runs
# What is assumed of the correlation, and the number of differences that this counts for. Over 40 runs of one case that
# did not change, 5% have a false change at a correlation of 0.8. Assuming 0.5 gives 11%, and 0.7 finds half the steps.
ASSUMED_CORRELATION = 0.6
ASSUMED_DIFFERENCES = 100


@dataclass(frozen=True)
class RunScatter:
    """What differs from run to run in a case's log-ratio, beyond each run's own error."""

    variance: float
    correlation: float  # of neighbouring runs, from 0 to `MAX_CORRELATION`

    @property
    def lasting_variance(self) -> float:
        """The variance of independent runs whose mean would be as uncertain as that of these correlated runs."""
        return self.variance * (1 + self.correlation) / (1 - self.correlation)

    @property
    def of_neighbours(self) -> float:
        """The variance of the difference of neighbouring runs, which is known whatever their correlation is."""
        return 2 * self.variance * (1 - self.correlation)


def run_scatter(lines: Sequence[Sequence[Location]]) -> RunScatter:
    """Estimate from all lines together how points scatter from run to run beyond their own errors."""
    lags = range(1, max(2, max(map(len, lines), default=0) // POINTS_OVER_LAG) + 1)
    variances = [_variance_between(lines, lag) for lag in lags]
    if not variances[0]:
        return RunScatter(0.0, 0.0)
    differences = sum(max(0, len(line) - 2) for line in lines)
    known, assumed = differences * _correlation(lags, variances), ASSUMED_DIFFERENCES * ASSUMED_CORRELATION
    correlation = (known + assumed) / (differences + ASSUMED_DIFFERENCES)
    return RunScatter(variances[0] / 2 / (1 - correlation), correlation)


def _correlation(lags: Sequence[int], variances: Sequence[float]) -> float:
    """The correlation of neighbouring runs that explains best how differences grow with the distance of the runs.

    Of a bias with variance v and correlation r, differences of runs that are k apart have the variance 2 v (1 - r^k).
    """
    seen = np.log(np.maximum(variances, variances[0]))
    tried = np.linspace(0, MAX_CORRELATION, 91)
    apart = seen - np.log1p(-(tried[:, None] ** np.array(lags)))
    return float(tried[apart.var(axis=1).argmin()])


def _variance_between(lines: Sequence[Sequence[Location]], lag: int) -> float:
    """The variance of differences of points `lag` runs apart, beyond that of the points' errors."""
    pairs = [(point, line[index + lag]) for line in lines for index, point in enumerate(line[:-lag])]
    if not pairs:
        return 0.0
    squares = np.sort([(after.value - before.value) ** 2 for before, after in pairs])
    whole = squares[: math.ceil(LOWER_SHARE * len(squares))].mean() / LOWER_SHARE_OF_VARIANCE
    own = np.median([own_variance(before) + own_variance(after) for before, after in pairs])
    return max(0.0, float(whole - own))


def own_variance(point: Location) -> float:
    """The variance of a point by its run's own replicates; 0 if there is only one, which shows none."""
    return point.error**2 if point.freedom else 0.0
