"""How many independent values a series is worth, if each value resembles the one before.

The rounds of one process come one after the other, so whatever slows one arm for a second slows several rounds. Values
that resemble their neighbours tell less of their centre than independent ones do: an error for independent values is
too small, by the root of `len(values) / worth(values)`.

If the correlation of neighbours is r, and that of values that are one more apart is smaller by the factor f, n values
are worth n / (1 + 2 r / (1 - f)). Both come from the values themselves: r is the correlation of neighbours, and f is r
too, or the correlation of next but one neighbours over r if that is larger, as it is if values also have noise of their
own. Few values show their correlation badly: it counts only above its own standard error, so independent values seldom
lose much by it, and no series is worth fewer than `LEAST` values. How often intervals then hold the truth is in
`results/validation/rounds-simulated.md`.
"""

import math
from collections.abc import Sequence

import numpy as np

from rnnbench.analysis.estimate import Estimate, t_quantiles

# Values; with fewer, Student's quantiles are so large that noise in the correlation would rule the interval.
LEAST = 5.0
MAX_CORRELATION = 0.9  # a series that wanders longer than ten values can't be told from a drift
CLIPPED_SHARE = 0.1  # of the values, at each end: a stall hides how alike the others are
NO_SPREAD = 1e-9  # of logarithms: below it there is only rounding
BIAS_TERMS = 4  # the correlation r of n values comes out too small by about (1 + 4 r) / n (Kendall 1954)


def worth(values: Sequence[float]) -> float:
    """The number of independent values whose mean is as uncertain as that of these, from `LEAST` to their number."""
    n = len(values)
    if n <= LEAST:
        return float(n)
    ordered = np.asarray(values, dtype=float)
    apart = ordered.clip(*np.quantile(ordered, (CLIPPED_SHARE, 1 - CLIPPED_SHARE)))
    apart = apart - apart.mean()
    neighbours, further = (_correlation(apart, lag) for lag in (1, 2))
    if neighbours <= 1 / math.sqrt(n):
        return float(n)
    decay = min(max(neighbours, further / neighbours), MAX_CORRELATION)
    return max(LEAST, n / (1 + 2 * min(neighbours, MAX_CORRELATION) / (1 - decay)))


def widening(logs: Sequence[float]) -> float:
    """The width of the 95% interval of a series' centre over that of the interval for independent values."""
    n, independent = len(logs), worth(logs)
    if independent == n:
        return 1.0
    correlated, plain = t_quantiles(0.975, np.array([independent - 1, n - 1])).tolist()
    return float(math.sqrt(n / independent) * correlated / plain)


def widened(interval: Estimate, logs: Sequence[float]) -> Estimate:
    """The 95% interval of a series' centre, from the interval for independent values."""
    value, factor = interval.value, widening(logs)
    return Estimate(value, value - factor * (value - interval.lower), value + factor * (interval.upper - value))


def _correlation(apart: np.ndarray, lag: int) -> float:
    """The correlation of values `lag` places apart, from distances from the mean; 0 without any spread."""
    n, whole = len(apart), float(apart @ apart)
    if whole < NO_SPREAD**2:
        return 0.0
    found = float(apart[lag:] @ apart[:-lag]) / whole
    return (n * found + 1) / max(n - BIAS_TERMS, 3)  # 3: for six values the correction would double the noise
