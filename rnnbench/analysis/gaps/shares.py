"""The share of a measured whole that a measured part makes up, with a confidence interval.

The interval accounts for the errors of the part and of the whole (Fieller 1954,
doi:10.1111/j.2517-6161.1954.tb00159.x): it contains every share s for which the part does not differ significantly
from s times the whole. It is exact if the errors are normal.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnbench.analysis.estimate import UNKNOWN, Estimate, estimate, t_quantile


def share_of(part: Estimate, whole: Estimate) -> Estimate:
    """The share of a part that was measured independently of the whole.

    Returns NaN if the whole has no interval, or one that contains zero.
    """
    return _fieller(part.value, whole.value, _half(part) ** 2, _half(whole) ** 2, 0.0)


def paired_share_of(parts: Sequence[float], wholes: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The share of a part that was measured together with the whole, with one value of both for each replicate.

    Returns NaN if the interval of the whole contains zero. The bounds are NaN for a single replicate. Raises ValueError
    if there is no replicate.
    """
    part, whole, n = estimate(parts).value, estimate(wholes).value, len(parts)
    if n == 1:
        return replace(UNKNOWN, value=part / whole) if whole > 0 else UNKNOWN
    variances = np.cov(parts, wholes) * (t_quantile((1 + confidence) / 2, n - 1) ** 2 / n)
    return _fieller(part, whole, float(variances[0, 0]), float(variances[1, 1]), float(variances[0, 1]))


def _half(interval: Estimate) -> float:
    return (interval.upper - interval.lower) / 2


def _fieller(part: float, whole: float, of_part: float, of_whole: float, of_both: float) -> Estimate:
    """The roots of `(part - s whole)^2 = of_part - 2 s of_both + s^2 of_whole`, the squares of half intervals."""
    certain = whole**2 - of_whole
    if not (whole > 0 and certain > 0):
        return UNKNOWN
    middle = part * whole - of_both
    root = math.sqrt(max(0.0, middle**2 - certain * (part**2 - of_part)))
    value = part / whole
    return Estimate(value, min(value, (middle - root) / certain), max(value, (middle + root) / certain))
