"""Where the level of a line of points changes permanently.

The search is PELT (Killick, Fearnhead & Eckley 2012, doi:10.1080/01621459.2012.737745, as in `ruptures`). Its cost is
the squared distance from a stretch's mean, weighted by each point's variance; a change must gain `PENALTY` log n. A
stretch has two points or more, and single points that stand out are drawn in before the search.

A line that rises slowly is cut into steps, too, though nothing happened at these places. `drifts` therefore compares
the steps with a straight line, which costs as much as one change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rnnbench.analysis.estimate import Estimate, as_ratio
from rnnbench.analysis.location import Location
from rnnbench.analysis.verdict import CONFIDENCE

PENALTY = 3.0  # times log n: what a change must gain in squared standard errors
MIN_LEVEL_POINTS = 2  # points of a level; a single one may be a run that something else slowed
SPIKE = 2.0  # standard errors


@dataclass(frozen=True)
class WeightedPoints:
    """The points of a line as they are judged: spikes drawn in, with the weights and the scatter of the points."""

    values: np.ndarray
    weights: np.ndarray
    starts: Sequence[int]  # of its stretches, as indices
    factor: float = 1.0  # the points' variances over those that the weights imply
    freedom: float = 0.0  # degrees of freedom of `factor`
    is_drift: bool = False  # the points follow a straight line, and not the levels of stretches

    def levels(self) -> list[Location]:
        """The level of each stretch."""
        parts = [slice(*ends) for ends in pairwise([*self.starts, len(self.values)])]
        return [
            Location(
                float(np.average(self.values[part], weights=self.weights[part])),
                math.sqrt(self.factor / float(self.weights[part].sum())),
                self.freedom,
            )
            for part in parts
        ]

    def drift(self) -> Location:
        """The distance from the first to the last point of the straight line through all points."""
        line = StraightLine.through(self.values, self.weights)
        steps = len(self.values) - 1
        return Location(line.slope * steps, math.sqrt(self.factor * line.slope_variance) * steps, self.freedom)

    def cost_of(self, values: np.ndarray) -> float:
        """The weighted sum of the squared distances of values from their own levels, or from their straight line."""
        if self.is_drift:
            return StraightLine.through(values, self.weights).cost
        return cost(values, self.weights, self.starts)

    def level_of_points(self) -> tuple[Estimate, ...]:
        """The level of each point's stretch, or of the straight line at each point, as a ratio with its interval."""
        if self.is_drift:
            line = StraightLine.through(self.values, self.weights)
            errors = np.sqrt(self.factor * line.variances)
            at_points = zip(line.values.tolist(), errors.tolist(), strict=True)
            return tuple(as_ratio(Location(*known, self.freedom).interval(CONFIDENCE)) for known in at_points)
        counts = np.diff([*self.starts, len(self.values)])
        ratios = [as_ratio(level.interval(CONFIDENCE)) for level in self.levels()]
        return tuple(ratio for ratio, count in zip(ratios, counts, strict=True) for _ in range(count))


@dataclass(frozen=True)
class StraightLine:
    """The straight line through weighted points, at equal distances, by least squares."""

    slope: float  # from point to point
    slope_variance: float  # if the weights are the inverse variances of the points
    values: np.ndarray  # of the line at each point
    variances: np.ndarray  # of `values`
    cost: float  # the weighted sum of the points' squared distances from the line

    @staticmethod
    def through(values: np.ndarray, weights: np.ndarray) -> "StraightLine":
        """The line through two points or more."""
        place = np.arange(len(values)) - np.average(np.arange(len(values)), weights=weights)
        width = float((weights * place**2).sum())
        slope = float((weights * place * values).sum()) / width
        line = np.average(values, weights=weights) + slope * place
        variances = 1 / weights.sum() + place**2 / width
        return StraightLine(slope, 1 / width, line, variances, float((weights * (values - line) ** 2).sum()))


def drifts(values: np.ndarray, weights: np.ndarray, starts: Sequence[int]) -> bool:
    """Whether a straight line fits the points at least as well as the steps at `starts`, if there are any."""
    if len(starts) < 2:
        return False
    gained = (len(starts) - 2) * PENALTY * math.log(len(values))  # the line costs as much as one change
    return StraightLine.through(values, weights).cost <= cost(values, weights, starts) + gained


def cost(values: np.ndarray, weights: np.ndarray, starts: Sequence[int]) -> float:
    """The weighted sum of the points' squared distances from the mean of their stretch."""
    counts = np.diff([*starts, len(values)])
    means = np.add.reduceat(weights * values, starts) / np.add.reduceat(weights, starts)
    return float((weights * (values - np.repeat(means, counts)) ** 2).sum())


def without_spikes(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The values with spikes drawn in: points that stand out from the two before and the two after in one direction.

    A spike stays `SPIKE` standard errors from the nearer side: a run that something else slowed is no lasting change.
    """
    padded = np.concatenate(([np.nan, np.nan], values, [np.nan, np.nan]))
    before, after = (np.nanmean(np.stack(pair)[:, 1:-1], axis=0) for pair in _neighbours(padded))
    above = values[1:-1] - np.maximum(before, after)
    below = np.minimum(before, after) - values[1:-1]
    room = SPIKE / np.sqrt(weights[1:-1])
    drawn = values.copy()
    drawn[1:-1] += np.maximum(below - room, 0) - np.maximum(above - room, 0)
    return drawn


def _neighbours(padded: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The two values before and the two after each value, for values that are padded by two at both ends."""
    return (padded[:-4], padded[1:-3]), (padded[3:-1], padded[4:])


def segments(values: np.ndarray, weights: np.ndarray) -> list[int]:
    """The first index of each stretch of points that have one level, by PELT; `[0]` if nothing changed."""
    penalty = PENALTY * math.log(len(values))
    if len(values) < 2 * MIN_LEVEL_POINTS or cost(values, weights, [0]) <= penalty:
        return [0]  # no change could gain what it costs
    import ruptures

    search = ruptures.Pelt(custom_cost=_weighted_cost(), min_size=MIN_LEVEL_POINTS, jump=1)
    ends = search.fit(np.column_stack((values, weights))).predict(pen=penalty)
    return [0, *ends[:-1]]


def _weighted_cost() -> Any:
    """`cost` of a stretch, for columns of values and weights, in the form that ruptures needs.

    It leaves out the sum of the squared values, which does not depend on how a line is cut.
    """
    from ruptures.base import BaseCost

    class WeightedCost(BaseCost):  # type: ignore[misc] # ruptures has no types
        model = ""
        min_size = 1

        def fit(self, signal: np.ndarray) -> "WeightedCost":
            values, weights = signal.T
            values = values - values.mean()  # so that no digits are lost below
            self.signal = signal
            self._sums = np.vstack((np.zeros(2), np.cumsum([weights, weights * values], axis=1).T))
            return self

        def error(self, start: int, end: int) -> float:
            weight, first = self._sums[end] - self._sums[start]
            return -float(first**2 / weight)

    return WeightedCost()
