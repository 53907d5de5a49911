"""The undisturbed time of a call: a low quantile of its blocks on a quiet core.

How much a shared core slows a call depends on the call, so the ratio of unlike modules depends on how often the core is
shared (`rnnbench.harness.machine.pulse`). Blocks between two quiet pulses show the core alone, but a fifth of them is
still disturbed, and only towards longer times: hence a low quantile.

A quantile of few blocks is higher than that of many. Both cases of a ratio therefore count as having equally many: the
quantile is the one of Harrell and Davis (1982, doi:10.1093/biomet/69.3.635): the expectation over samples of that size,
which also scatters less than a single order statistic. A lean of 0.4% is left if one side has 6 blocks and the other
200, of 0.2% with 10, and of none with 20.

Of the fastest 25% of its quiet blocks a window keeps the means of up to eleven equal parts: nothing else has weight.

The best time of a case in all of its visits was tried as well: the mean of the blocks below 1.07 times that time
differs less between visits of a recording (1.1 in place of 1.7%). But it hides what processes differ by: by simulation,
where they differ by 2%, it is as far from the truth as the low quantile (1.75 and 1.9%, 1.6 and 1.4%), and seems
closer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Self

import numpy as np
from scipy import special

QUANTILE = 0.05
LOW_SHARE = 0.25  # of the quiet blocks, the fastest ones, which carry all of the weight of the quantile
MAX_PARTS = 11  # of the blocks that a window keeps
BINS = 16  # of the fastest blocks of a visit, which stand for equal shares of them
EDGES = np.linspace(0.0, LOW_SHARE, BINS + 1)
MIN_QUIET_BLOCKS = 6  # on each side; fewer scatter by more than the blocks of a shared core
MAX_QUIET_BLOCKS = 40  # more add nothing to a quantile whose weights reach to the fifth fastest of forty


@dataclass(frozen=True)
class QuietBlocks:
    """The quiet blocks of a case in one replicate."""

    logs: np.ndarray  # (BINS,) logarithms of the seconds per call of the fastest 25%, in equal shares, fastest first
    blocks: int
    mean: float  # seconds per call of all quiet blocks; it also shows what slows only some calls

    @classmethod
    def from_windows(cls, low: Sequence[Sequence[float]], blocks: Sequence[int], means: Sequence[float]) -> Self | None:
        """Return the quiet blocks of some windows; None if there are none.

        Of each window: its `low_parts`, and the number and mean of its quiet blocks.
        """
        if not sum(blocks):
            return None
        sizes = np.array([len(parts) for parts in low])
        seconds = np.array([*chain(*low)])
        [logs] = low_logs(np.zeros(len(blocks), dtype=int), sizes, seconds, np.array(blocks))
        return cls(logs, sum(blocks), float(np.average(means, weights=blocks)))


def low_parts(ordered: Sequence[float]) -> tuple[float, ...]:
    """Return the means of equal parts of the fastest 25% of some blocks: eleven, or one for each block if fewer."""
    if not ordered:
        return ()
    low = ordered[: math.ceil(LOW_SHARE * len(ordered))]
    return tuple(float(np.mean(part)) for part in np.array_split(low, min(len(low), MAX_PARTS)))


def low_logs(groups: np.ndarray, sizes: np.ndarray, seconds: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return the logarithms of the fastest blocks of each group of windows, numbered 0, 1, 2, ...: (n, BINS).

    `seconds` has the `low_parts` of all windows, one window after another, `sizes` how many each has, and `blocks` how
    many quiet blocks. A group without quiet blocks gets NaN.
    """
    number = groups.max(initial=-1) + 1
    if not number:
        return np.empty((0, BINS))
    whole = np.bincount(groups, blocks, minlength=number)
    in_part = np.ceil(LOW_SHARE * blocks) / np.maximum(sizes, 1)
    # The share of a group's blocks that are as fast as each part, and their seconds, both from 0: the first point of
    # each group is of no blocks. Groups lie two apart, so that one interpolation serves all.
    points = np.concatenate([np.arange(number), np.repeat(groups, sizes)])
    counts = np.concatenate([np.zeros(number), np.repeat(in_part, sizes)])
    values = np.concatenate([np.zeros(number), seconds])
    order = np.lexsort((values, points))
    points = points[order]
    first = np.searchsorted(points, np.arange(number))
    upto = np.cumsum(counts[order])
    sums = np.cumsum(counts[order] * values[order])
    shares = (upto - upto[first][points]) / np.maximum(whole, 1)[points]
    sums = (sums - sums[first][points]) / np.maximum(whole, 1)[points]
    places = (EDGES + 2 * np.arange(number)[:, None]).ravel()
    at_edges = np.interp(places, shares + 2 * points, sums).reshape(number, -1)
    at_edges[whole == 0] = math.nan
    result: np.ndarray = np.log(np.diff(at_edges, axis=1) / np.diff(EDGES))
    return result


def counted_blocks(case: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return as how many blocks both sides count, from the numbers of quiet blocks of each: 0 if too few are quiet."""
    fewest = np.minimum(np.minimum(case, reference), MAX_QUIET_BLOCKS).astype(int)
    return np.where(fewest < MIN_QUIET_BLOCKS, 0, fewest)


def low_quantiles(logs: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the logarithm of the low quantile of each row, which counts as so many blocks: (n,), NaN where it is 0.

    `logs`: of `low_logs`, (n, BINS).
    """
    quantiles = np.full(len(counted), math.nan)
    for number in np.unique(counted[counted > 0]).tolist():
        rows = counted == number
        quantiles[rows] = logs[rows] @ weights(number)
    return quantiles


@cache
def weights(number: int) -> np.ndarray:
    """Return the weight of each bin in the low quantile of so many blocks: (BINS,), with a sum of 1."""
    upto = special.betainc((number + 1) * QUANTILE, (number + 1) * (1 - QUANTILE), EDGES)
    upto[-1] = 1.0
    of_bins: np.ndarray = np.diff(upto)
    return of_bins
