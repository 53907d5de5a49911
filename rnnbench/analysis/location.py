"""Where the centres of many small samples lie: trimmed means, whose errors borrow strength from each other.

A sample is one case's log-ratios, one from each replicate. Its centre is the mean without the lowest and highest tenth,
with the error that follows from the winsorized variance (Tukey & McLaughlin 1963; Yuen 1974,
doi:10.1093/biomet/61.1.165): a stall of the machine that spoils one replicate does not spoil the case.

A variance is poorly known from a dozen replicates, which limits a t test far out in its tail. Most cases of a suite
have similar noise, so a variance that is small by chance is raised towards the typical one, the more the cases agree
(Smyth 2004, doi:10.2202/1544-6115.1027). A variance is never lowered, since a case may be noisier than the others. The
other cases add at most as many degrees of freedom as a case has itself, because noise that hits a whole replicate
affects all cases and makes their variances dependent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from rnnbench.analysis.estimate import Estimate, t_quantile

MIN_TO_TRIM = 5
TRIMMED_SHARE = 0.1  # at each end, at least one value
CLIPPED_SHARE = 0.1  # of the logarithms of variances, at each end
CLIPPED_VARIANCE = 0.679  # of normal values that are clipped there, relative to their own
MAX_GAIN = 1.0  # degrees of freedom that a variance gains at most from the other cases, for each of its own


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


def locations(samples: Sequence[Sequence[float] | np.ndarray]) -> list[Location]:
    """The centres of samples with something in common, each with an error that the others helped to estimate.

    Raises ValueError if a sample is empty.
    """
    sizes = np.array([len(sample) for sample in samples])
    if not sizes.all():
        raise ValueError("no values")
    values, errors, freedom, kept = (np.empty(len(sizes)) for _ in range(4))
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        rows = np.array([samples[index] for index in alike.tolist()], dtype=float)
        values[alike], errors[alike], freedom[alike] = _alone(rows)
        kept[alike] = _kept(size)
    use = (freedom > 0) & (errors > 0)
    if use.sum() >= 2:
        variances, freedom = drawn_together(errors**2 * kept, freedom)
        errors[use] = np.sqrt(variances[use] / kept[use])
    return [Location(*row) for row in zip(values.tolist(), errors.tolist(), freedom.tolist(), strict=True)]


def drawn_together(
    variances: np.ndarray, freedom: np.ndarray, max_gain: float = MAX_GAIN
) -> tuple[np.ndarray, np.ndarray]:
    """Raise the variances of similar samples towards the typical one; returns them and their degrees of freedom.

    `max_gain`: degrees of freedom that one gains at most, for each of its own; it never has more than all together.
    A variance without freedom, or of zero, stays as it is; so do all variances if fewer than two others are left.
    """
    use = (freedom > 0) & (variances > 0)
    if use.sum() < 2:
        return variances, freedom
    prior, prior_freedom = _prior(variances[use], freedom[use])
    drawn, more = variances.copy(), freedom.copy()
    if math.isinf(prior_freedom):
        drawn[use] = prior
    else:
        drawn[use] = (prior_freedom * prior + freedom[use] * variances[use]) / (prior_freedom + freedom[use])
    more[use] = np.minimum(more[use] + np.minimum(prior_freedom, max_gain * freedom[use]), freedom.sum())
    return np.maximum(drawn, variances), more


def shift(base: Location, head: Location) -> Location:
    """The distance of the centres of two independent samples, head minus base; they may differ in spread and number."""
    return Location(head.value - base.value, head.error, head.freedom).plus(base.error**2, base.freedom)


def _cut(n: int) -> int:
    """How many of n values are trimmed at each end."""
    return max(1, round(TRIMMED_SHARE * n)) if n >= MIN_TO_TRIM else 0


def _kept(n: int) -> int:
    return n - 2 * _cut(n)


def _alone(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | float, float]:
    """The centres of samples of equal size, a row each, estimated one by one: values, errors, degrees of freedom."""
    n = samples.shape[1]
    cut, kept, ordered = _cut(n), _kept(n), np.sort(samples, axis=1)
    centres = ordered[:, cut : n - cut].mean(axis=1)
    if n == 1:
        return centres, math.nan, 0.0
    winsorized = ordered.clip(ordered[:, [cut]], ordered[:, [n - 1 - cut]])
    errors = np.sqrt(winsorized.var(axis=1, ddof=1) * (n - 1) / (kept * (kept - 1)))
    return centres, errors, kept - 1.0


def _prior(variances: np.ndarray, freedom: np.ndarray) -> tuple[float, float]:
    """The typical variance and how many degrees of freedom it is worth; infinitely many if all agree.

    The lowest and highest tenth of the variances are clipped (Phipson et al. 2016, doi:10.1214/16-AOAS920), so that a
    few noisy cases do not hide that the others agree.
    """
    half = freedom / 2
    logs = np.log(variances) - special.digamma(half) + np.log(half)
    clipped = logs.clip(*np.quantile(logs, (CLIPPED_SHARE, 1 - CLIPPED_SHARE)))
    centre = float(clipped.mean())
    spread = float(clipped.var(ddof=1)) / CLIPPED_VARIANCE - float(special.polygamma(1, half).mean())
    if spread <= 0:
        return math.exp(centre), math.inf
    prior_half = _inverse_trigamma(spread)
    return math.exp(centre + float(special.digamma(prior_half)) - math.log(prior_half)), 2 * prior_half


def _inverse_trigamma(value: float) -> float:
    """The x whose trigamma is `value`, by Newton's method on 1 / trigamma, which is nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
