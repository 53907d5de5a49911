"""Values with intervals, from the replicates of many cases.

There is one interval. The value is the mean over the replicates, and the interval is Student's. A case whose replicates
agree by chance would look too precise, so its variance is raised towards that of the other cases, and never lowered
(`rnnbench.analysis.variances`). Ratios and times are estimated on logarithms.

Two runs of the same code differ by more than the replicates of one run show. What runs differ by is one term, which
`with_runs` adds to the interval of a ratio. On a shared core it holds `drift`: how much the ratio would change if the
core were shared more, or less, than in the minutes of this run.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import chain

import numpy as np
from scipy import special

from rnnbench.analysis.variances import raised, t_quantile, t_quantiles
from rnnbench.store.stored_record import Number

CONFIDENCE = 0.95
MAX_PAIRS_AT_ONCE = 1 << 23  # pairs of values, so that many cases with many replicates do not fill the memory
FARTHEST_LOG = 300.0  # of a ratio; the times of a spoilt run may differ so much that the ends of intervals overflow
ENDS = ("", "_low", "_high")  # of the columns of a value and its interval
# What two runs differ by, as a half-width of the logarithm: 0.4% of any value, and 1.2% of the logarithm of a ratio,
# since the less alike two modules are, the more runs differ. In sixteen runs, ratios of 2.3 to 4.5 scattered by 0.6 to
# 1.2% from run to run, of which their replicates explain 0.4% (`unlike-coverage`). Replicates that were forked from
# four processes scattered no less.
BETWEEN_RUNS = 0.004
BETWEEN_UNLIKE = 0.012
# On a wholly shared core the logarithm of a ratio is so much smaller than on a quiet one, as a share of it: medians of
# calls in five recordings of a ratio of 2.9, minutes of which are quiet or not, differ by 13.8%.
SHARED_LEAN = 0.14
ALWAYS_QUIET = 0.95  # of the pulses; a core that is quiet more often is not called shared
MINUTE = 60.0  # seconds, in which the share of a core that others take changes
MIN_QUIET_REPLICATES = 2  # with enough quiet blocks, so that a time or ratio is undisturbed


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; the bounds are NaN for a single replicate, which says nothing about the spread."""

    value: Number
    lower: Number
    upper: Number

    @property
    def has_interval(self) -> bool:
        """Return True if both bounds are known."""
        return math.isfinite(self.lower) and math.isfinite(self.upper)

    def at(self, value: float) -> "Estimate":
        """Return this interval around another value, so that figures derived from one another add up."""
        return Estimate(value, value - (self.value - self.lower), value + (self.upper - self.value))


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Location:
    """A centre with its standard error and degrees of freedom; NaN and 0 for a single value, which shows no spread."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float = CONFIDENCE) -> Estimate:
        """Return the centre with Student's interval; NaN bounds if the error is not known."""
        half = self.error * t_quantile((1 + confidence) / 2, self.freedom) if self.freedom else math.nan
        return Estimate(self.value, self.value - half, self.value + half)

    def plus(self, variance: float, freedom: float = math.inf) -> "Location":
        """Return the centre with an independent variance added to that of its error.

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
        """Return the one-sided p-value of the hypothesis that the centre is at most `edge`."""
        if not self.freedom:
            return 1.0
        distance = self.value - edge
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(special.stdtr(self.freedom, -distance / self.error))

    def p_below(self, edge: float) -> float:
        """Return the one-sided p-value of the hypothesis that the centre is at least `edge`."""
        return Location(-self.value, self.error, self.freedom).p_above(-edge)


def from_logs(logs: np.ndarray) -> np.ndarray:
    """Return the ratios, or times, with these logarithms, limited so that their squares do not overflow."""
    values: np.ndarray = np.exp(np.clip(logs, -FARTHEST_LOG, FARTHEST_LOG))
    return values


def as_ratio(log: Estimate) -> Estimate:
    """Return the estimate of a ratio, or of a time, from the estimate of its logarithm."""
    return Estimate(*from_logs(np.array(astuple(log))).tolist())


def estimate_columns(name: str, estimate_or_none: Estimate | None) -> dict[str, float | None]:
    """Return an estimate as columns of a frame: `name`, `name_low` and `name_high`; None if there is none."""
    values = (None, None, None) if estimate_or_none is None else astuple(estimate_or_none)
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}


def minus(whole: Estimate, parts: Sequence[Estimate]) -> Estimate:
    """Return the difference of separate measurements: the squares of their intervals' halves add up."""
    value = whole.value - sum(part.value for part in parts)
    low = math.hypot(whole.value - whole.lower, *(part.upper - part.value for part in parts))
    high = math.hypot(whole.upper - whole.value, *(part.value - part.lower for part in parts))
    return Estimate(value, value - low, value + high)


def estimate(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of a single sample, one value from each replicate, with its interval: NaN for one value."""
    return Estimate(*estimates(np.zeros(len(values), dtype=int), np.asarray(values), confidence)[0].tolist())


def estimates_of(samples: Sequence[Sequence[float] | np.ndarray], confidence: float = CONFIDENCE) -> list[Estimate]:
    """Return `estimates` of samples with something in common; `UNKNOWN` for a sample without values."""
    number = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    array = estimates(number, np.array([*chain(*samples)]), confidence)
    rows = [Estimate(*row) for row in array.tolist()]
    return rows + [UNKNOWN] * (len(samples) - len(rows))


def estimates(groups: np.ndarray, values: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Estimate the mean of the values of each group, for group numbers 0, 1, 2, ...: value, lower and upper, (n, 3).

    The groups are samples with something in common, such as the cases of a run: their variances borrow from each other.
    A sample of equal values keeps a width of zero: it is that of a reference's ratios to itself.
    """
    means, errors, freedom = _centres(groups, values)
    halves = t_quantiles((1 + confidence) / 2, freedom) * errors
    return np.column_stack([means, means - halves, means + halves])


def quiet_estimates_of(samples: Sequence[Sequence[tuple[float, int]]]) -> list[Estimate]:
    """Return `estimates_of` the values that count as one quiet block or more; `UNKNOWN` for too few replicates."""
    usable = [[value for value, blocks in sample if blocks] for sample in samples]
    return estimates_of([sample if len(sample) >= MIN_QUIET_REPLICATES else [] for sample in usable])


def with_runs(logs: np.ndarray, drifts: np.ndarray | float = 0.0) -> np.ndarray:
    """Return log-ratios with their intervals, (n, 3), widened by what two runs differ by.

    `drifts`: of those that were measured on a shared core, the half-widths of `drift`; 0 for others. The log-ratio of a
    reference to itself keeps its width of zero.
    """
    values = logs[:, 0]
    halves = logs[:, 2] - values
    between = np.hypot(run_to_run(values), drifts)
    wider = np.where(halves == 0, 0.0, np.hypot(halves, between))
    return np.column_stack([values, values - wider, values + wider])


def run_to_run(log_ratios: np.ndarray) -> np.ndarray:
    """Return the half-widths of what two runs differ by, of logarithms of ratios."""
    half_widths: np.ndarray = np.hypot(BETWEEN_RUNS, BETWEEN_UNLIKE * log_ratios)
    return half_widths


def drift(log_ratios: np.ndarray | float, quiet_shares: np.ndarray | float, minutes: np.ndarray | float) -> np.ndarray:
    """Return the half-widths of what other minutes of a shared core would change of logarithms of ratios.

    `quiet_shares`: of the pulses beside the calls. `minutes`: in how many replicates began, at least one. The shares of
    minutes scatter as a Beta distribution does whose parameters sum to one: most minutes are either quiet or
    shared. One more minute of even odds is assumed, so that a single one does not seem to tell the others.
    """
    shares = (quiet_shares * minutes + 0.5) / (minutes + 1)
    errors = np.sqrt(shares * (1 - shares) / 2 / minutes)
    half_widths: np.ndarray = t_quantile((1 + CONFIDENCE) / 2, math.inf) * SHARED_LEAN * np.abs(log_ratios) * errors
    return half_widths


def locations(samples: Sequence[Sequence[float] | np.ndarray]) -> list[Location]:
    """Return the means of samples with something in common, each with an error that the others helped to estimate.

    Each sample has at least one value. Equal values are equal by chance or by the resolution of the readings here, so
    a variance of zero is raised, too.
    """
    if not samples:
        return []
    groups = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    means, errors, freedom = _centres(groups, np.array([*chain(*samples)]), with_zeros=True)
    return [Location(*row) for row in zip(means.tolist(), errors.tolist(), freedom.tolist(), strict=True)]


def _centres(
    groups: np.ndarray, values: np.ndarray, *, with_zeros: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of each group, its standard error, and the degrees of freedom: NaN and 0 for a single value."""
    values = np.asarray(values, dtype=float)
    sizes = np.bincount(groups)
    errors = np.full(len(sizes), math.nan)
    freedom = np.zeros(len(sizes))
    one_of_each = np.zeros(len(sizes))
    one_of_each[groups] = values
    apart = values - one_of_each[groups]  # exactly zero for equal values, which rounding would make unequal
    with np.errstate(invalid="ignore", divide="ignore"):  # a number without values, and a value without others
        means = np.bincount(groups, apart) / sizes
        variances = np.bincount(groups, (apart - means[groups]) ** 2) / (sizes - 1)
    means += one_of_each
    several = sizes > 1
    higher, freedom[several] = raised(variances[several], sizes[several] - 1.0, with_zeros=with_zeros)
    errors[several] = np.sqrt(higher / sizes[several])
    return means, errors, freedom


def shift(base: Location, head: Location) -> Location:
    """Return the distance of the centres of two independent samples, head minus base, which may differ in spread."""
    return Location(head.value - base.value, head.error, head.freedom).plus(base.error**2, base.freedom)


def alike(groups: np.ndarray, cost: Callable[[int], int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield groups of equal size together: their numbers, and the indices of their members, a row for each group.

    One part needs about `MAX_PAIRS_AT_ONCE` numbers at most, where a group of n members needs `cost(n)` of them.
    """
    sizes = np.bincount(groups)
    order = np.argsort(groups)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]).tolist():
        of_size = np.flatnonzero(sizes == size)
        for part in np.array_split(of_size, math.ceil(len(of_size) * cost(size) / MAX_PAIRS_AT_ONCE)):
            yield part, order[starts[part][:, None] + np.arange(size)]
