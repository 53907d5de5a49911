"""A value and its interval from replicates: Hodges-Lehmann, and the signed-rank test turned inside out.

Hodges & Lehmann 1963 (doi:10.1214/aoms/1177704172): the median of all pairwise means. The interval holds every shift
that the two-sided Wilcoxon signed-rank test does not reject; it needs no normal distribution, only symmetry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

# Below this the signed-rank interval is up to a quarter wider than Student's, which covers as well: see the coverage
# table of `tests/validation`. Below six values the signed-rank test can't reject at 5% at all.
FEWEST_FOR_RANKS = 10
MOST_FOR_EXACT = 50


LOW_QUANTILE = 0.10  # of a replicate's calls: what stands for its time


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; the bounds are NaN where one replicate says nothing of the spread."""

    value: float
    low: float
    high: float


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann estimate of the values' centre, one value from each replicate.

    The interval is the signed-rank test's, or Student's t for fewer than ten values, and NaN for one.
    Raises ValueError where there is no value.
    """
    if len(values) < FEWEST_FOR_RANKS:
        return t_interval(values, confidence)
    return signed_rank_interval(values, confidence)


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann value with Student's interval for the mean; NaN bounds for a single value."""
    sample = _sample(values)
    value = float(np.median(walsh_averages(sample)))
    if len(sample) == 1:
        return Estimate(value, math.nan, math.nan)
    centre = float(sample.mean())
    half = float(stats.t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return Estimate(value, min(value, centre - half), max(value, centre + half))


def signed_rank_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann value with the interval of the shifts that the signed-rank test keeps; at least six values."""
    means = walsh_averages(_sample(values))
    cut = max(0, signed_rank_cut(len(values), 1 - confidence))
    return Estimate(float(np.median(means)), float(means[cut]), float(means[-1 - cut]))


def _sample(values: Sequence[float]) -> np.ndarray:
    if not len(values):
        raise ValueError("no values")
    return np.asarray(values, dtype=float)


def pooled_quantiles(
    groups: np.ndarray, quantiles: Sequence[Sequence[float]], calls: np.ndarray, at: float
) -> np.ndarray:
    """The quantile `at` of the calls of each group of windows, for group numbers 0, 1, 2, ...

    A window's order statistics each stand for an equal share of its calls.
    """
    if not len(groups):
        return np.empty(0)
    sizes = np.array([len(points) for points in quantiles])
    group, seconds = np.repeat(groups, sizes), np.concatenate([np.asarray(points) for points in quantiles])
    order = np.lexsort((seconds, group))
    group, seconds = group[order], seconds[order]
    weight = np.repeat(calls / sizes, sizes)[order]
    upto = np.cumsum(weight)
    before = np.concatenate(([0.0], upto))[np.searchsorted(group, np.arange(group[-1] + 1))]
    share = (upto - before[group]) / np.bincount(group, weight)[group]
    reached = np.flatnonzero(share >= at - 1e-9)
    first = reached[np.unique(group[reached], return_index=True)[1]]
    return np.asarray(seconds[first])


def walsh_averages(sample: np.ndarray) -> np.ndarray:
    """The sorted means of all pairs, each value with itself included: n -> n (n + 1) / 2."""
    first, second = np.triu_indices(len(sample))
    return np.sort((sample[first] + sample[second]) / 2)


@lru_cache
def signed_rank_cut(n: int, alpha: float) -> int:
    """Walsh averages to leave out at each end: the largest k with P(T <= k) <= alpha / 2, T the signed-rank statistic.

    T counts the Walsh averages on one side of a shift, so the shift is kept where k + 1 or more lie there.
    """
    if n > MOST_FOR_EXACT:
        mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
        return max(0, math.floor(mean + float(stats.norm.ppf(alpha / 2)) * math.sqrt(variance)))
    ways = np.zeros(n * (n + 1) // 2 + 1)  # subsets of the ranks 1..n, by their sum
    ways[0] = 1
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    below = np.cumsum(ways) / 2.0**n  # P(T <= k)
    return int(np.searchsorted(below, alpha / 2, side="right")) - 1
