"""A part's share of a whole when both are measured, with an interval that has the errors of both.

Fieller 1954 (doi:10.1111/j.2517-6161.1954.tb00159.x): the interval holds every share s for which the difference
between the part and s times the whole is not beyond chance. It is exact for normal errors, while a division by the
whole as if it were known leaves out its error.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnbench.analysis.estimate import Estimate, estimate, t_quantile

UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def share_of(part: Estimate, whole: Estimate) -> Estimate:
    """The share of a part that was measured apart from the whole; NaN if the whole may be zero or has no interval."""
    return _fieller(part.value, whole.value, _half(part) ** 2, _half(whole) ** 2, 0.0)


def paired_share_of(parts: Sequence[float], wholes: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The share of a part that was measured with the whole, a value of each for each replicate.

    NaN if the whole may be zero, and without an interval for a single replicate. Raises ValueError if there is none.
    """
    n = len(parts)
    if n == 1:
        return replace(UNKNOWN, value=parts[0] / wholes[0]) if wholes[0] > 0 else UNKNOWN
    variances = np.cov(parts, wholes) * (t_quantile((1 + confidence) / 2, n - 1) ** 2 / n)
    part, whole = estimate(parts).value, estimate(wholes).value
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
