"""Where the centres of many small samples lie: trimmed means, whose errors borrow strength from each other.

A sample is one case's log-ratios, one from each replicate. Its centre is the mean without the lowest and highest tenth,
with the error that follows from the winsorized variance (Tukey & McLaughlin 1963; Yuen 1974,
doi:10.1093/biomet/61.1.165): a stall of the machine that spoils one replicate does not spoil the case.

The variances borrow from each other (`rnnbench.analysis.variances`), since few degrees of freedom limit a t test
far out in its tail.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from rnnbench.analysis.estimate import Estimate, t_quantile
from rnnbench.analysis.variances import raised

MIN_TO_TRIM = 5
TRIMMED_SHARE = 0.1  # at each end, at least one value


@dataclass(frozen=True)
class Location:
    """A centre with its standard error and degrees of freedom; NaN and 0 for a single value, which shows no spread."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float = 0.95) -> Estimate:
        """The centre with Student's interval; NaN bounds if the error is not known."""
        half = self.error * t_quantile((1 + confidence) / 2, self.freedom) if self.freedom else math.nan
        return Estimate(self.value, self.value - half, self.value + half)

    def plus(self, variance: float, freedom: float = math.inf) -> "Location":
        """The same centre with an independent variance added to that of its error.

        `freedom`: degrees of freedom of the added variance, infinite if it is given and not estimated (Welch 1947,
        doi:10.1093/biomet/34.1-2.28).
        """
        if not (self.freedom and freedom):
            return Location(self.value, math.nan, 0.0)
        whole = self.error**2 + variance
        if not whole:
            return self
        uncertain = self.error**4 / self.freedom + variance**2 / freedom
        return Location(self.value, math.sqrt(whole), whole**2 / uncertain if uncertain else math.inf)

    def p_above(self, edge: float) -> float:
        """One-sided p-value of the hypothesis that the centre is at most `edge`."""
        if not self.freedom:
            return 1.0
        distance = self.value - edge
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(special.stdtr(self.freedom, -distance / self.error))

    def p_below(self, edge: float) -> float:
        """One-sided p-value of the hypothesis that the centre is at least `edge`."""
        return Location(-self.value, self.error, self.freedom).p_above(-edge)


def locations(samples: Sequence[Sequence[float] | np.ndarray], min_to_trim: int = MIN_TO_TRIM) -> list[Location]:
    """The centres of samples with something in common, each with an error that the others helped to estimate.

    Samples of fewer than `min_to_trim` values are not trimmed. Raises ValueError if a sample is empty.
    """
    sizes = np.array([len(sample) for sample in samples])
    if not sizes.all():
        raise ValueError("no values")
    values, errors, freedom, kept = (np.empty(len(sizes)) for _ in range(4))
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        rows = np.array([samples[index] for index in alike.tolist()], dtype=float)
        cut = _cut(size) if size >= min_to_trim else 0
        values[alike], errors[alike], freedom[alike] = _alone(rows, cut)
        kept[alike] = size - 2 * cut
    use = freedom > 0
    if use.sum() >= 2:
        variances, freedom = raised(errors**2 * kept, freedom, with_zeros=True)
        errors[use] = np.sqrt(variances[use] / kept[use])
    return [Location(*row) for row in zip(values.tolist(), errors.tolist(), freedom.tolist(), strict=True)]


def shift(base: Location, head: Location) -> Location:
    """The distance of the centres of two independent samples, head minus base; they may differ in spread and number."""
    return Location(head.value - base.value, head.error, head.freedom).plus(base.error**2, base.freedom)


def _cut(n: int) -> int:
    """How many of n values are trimmed at each end."""
    return max(1, round(TRIMMED_SHARE * n))


def _alone(samples: np.ndarray, cut: int) -> tuple[np.ndarray, np.ndarray | float, float]:
    """The centres of samples of equal size, a row each, estimated one by one: values, errors, degrees of freedom.

    `cut`: how many values of each sample are trimmed at each end.
    """
    n = samples.shape[1]
    kept, ordered = n - 2 * cut, np.sort(samples, axis=1)
    centres = ordered[:, cut : n - cut].mean(axis=1)
    if n == 1:
        return centres, math.nan, 0.0
    winsorized = ordered.clip(ordered[:, [cut]], ordered[:, [n - 1 - cut]])
    errors = np.sqrt(winsorized.var(axis=1, ddof=1) * (n - 1) / (kept * (kept - 1)))
    return centres, errors, kept - 1.0
