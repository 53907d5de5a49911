"""What the variances of many small samples say about each other.

A variance is poorly known from a handful of replicates. Most cases of a suite have similar noise, so a variance that is
small by chance is raised towards the typical one, the more the cases agree (Smyth 2004, doi:10.2202/1544-6115.1027). A
variance is never lowered, since a case may be noisier than the others. The other cases add at most as many degrees of
freedom as a case has itself, because noise that hits a whole replicate affects all cases and makes their variances
dependent.
"""

import math

import numpy as np
from scipy import special

CLIPPED_SHARE = 0.1  # of the logarithms of variances, at each end
CLIPPED_VARIANCE = 0.679  # of normal values that are clipped there, relative to their own
MAX_GAIN = 1.0  # degrees of freedom that a variance gains at most from the other cases, for each of its own


def raised(
    variances: np.ndarray, freedom: np.ndarray, max_gain: float = MAX_GAIN, *, with_zeros: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Raise the variances of similar samples towards the typical one; returns them and their degrees of freedom.

    `max_gain`: degrees of freedom that one gains at most, for each of its own; it never has more than all together.
    A variance without freedom stays as it is, and so do all variances if fewer than two are above zero. `with_zeros`:
    also raise a variance of zero, because the sample's values are equal by chance or by the resolution of the readings,
    and not by definition as a case's ratios to itself are. It says nothing about the typical variance in any case.
    """
    seen = (freedom > 0) & (variances > 0)
    use = freedom > 0 if with_zeros else seen
    if seen.sum() < 2:
        return variances, freedom
    prior, prior_freedom = _prior(variances[seen], freedom[seen])
    mixed, more = variances.copy(), freedom.copy()
    if math.isinf(prior_freedom):
        mixed[use] = prior
    else:
        mixed[use] = (prior_freedom * prior + freedom[use] * variances[use]) / (prior_freedom + freedom[use])
    more[use] = np.minimum(more[use] + np.minimum(prior_freedom, max_gain * freedom[use]), freedom.sum())
    return np.maximum(mixed, variances), more


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
