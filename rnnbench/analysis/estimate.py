"""A value and its interval from replicates: Hodges-Lehmann, with Student's interval or the inverted signed-rank test.

Hodges & Lehmann 1963 (doi:10.1214/aoms/1177704172): the median of all pairwise means. With few replicates the interval
is Student's, whose variance borrows from the other cases (`rnnbench.analysis.variances`): a run ends once its intervals
are narrow, and a case whose spread is small by chance would end it too early. With more replicates it holds every shift
that the two-sided Wilcoxon signed-rank test does not reject, which needs no normal distribution, only symmetry.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from rnnbench.analysis.variances import raised

# Below this the signed-rank interval is up to a quarter wider than Student's, which covers as well: see the coverage
# table of `tests/validation`. Below six values the signed-rank test can't reject at 5% at all.
MIN_FOR_RANKS = 10
MAX_FOR_EXACT = 50
MAX_PAIRS_AT_ONCE = 1 << 23  # pairs of values, so that many cases with many replicates do not fill the memory

FARTHEST_LOG = 300.0  # of a ratio; the times of a spoilt run may differ so much that the ends of intervals overflow
ENDS = ("", "_low", "_high")  # of the columns of a value and its interval


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; the bounds are NaN for a single replicate, which says nothing about the spread."""

    value: float
    lower: float
    upper: float

    @property
    def has_interval(self) -> bool:
        """Whether both bounds are known."""
        return math.isfinite(self.lower) and math.isfinite(self.upper)

    def at(self, value: float) -> "Estimate":
        """Return this interval around another value, so that figures derived from one another add up."""
        return Estimate(value, value - (self.value - self.lower), value + (self.upper - self.value))


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def from_logs(logs: np.ndarray) -> np.ndarray:
    """The ratios, or times, with these logarithms, limited so that their squares do not overflow."""
    values: np.ndarray = np.exp(np.clip(logs, -FARTHEST_LOG, FARTHEST_LOG))
    return values


def as_ratio(log: Estimate) -> Estimate:
    """The estimate of a ratio, or of a time, from the estimate of its logarithm."""
    return Estimate(*from_logs(np.array([log.value, log.lower, log.upper])).tolist())


def estimate_columns(name: str, known: Estimate | None) -> dict[str, float | None]:
    """An estimate as columns of a frame: `name`, `name_low` and `name_high`; None if there is none."""
    values = (None, None, None) if known is None else astuple(known)
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann estimate of the centre of a single sample, one value from each replicate.

    The interval is the signed-rank test's, or Student's t for fewer than ten values, and NaN for one.
    Raises ValueError if there is no value.
    """
    interval = t_interval if len(values) < MIN_FOR_RANKS else signed_rank_interval
    return interval(values, confidence)  # nothing to borrow from


def minus(whole: Estimate, parts: Sequence[Estimate]) -> Estimate:
    """Return the difference of separate measurements: the squares of their intervals' halves add up."""
    value = whole.value - sum(part.value for part in parts)
    low = math.hypot(whole.value - whole.lower, *(part.upper - part.value for part in parts))
    high = math.hypot(whole.upper - whole.value, *(part.value - part.lower for part in parts))
    return Estimate(value, value - low, value + high)


def estimates(groups: np.ndarray, values: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """`estimate` of the values of each group, for group numbers 0, 1, 2, ...: (groups, 3) of value, lower and upper.

    The groups are samples with something in common, such as the cases of a run: their variances borrow from each other.
    """
    values = np.asarray(values, dtype=float)
    result = np.full((groups.max(initial=-1) + 1, 3), math.nan)
    centres, halves = _student(groups, values, confidence)
    for part, members in alike(groups, lambda size: size**2):
        means = walsh_averages(values[members])
        result[part, 0] = np.median(means, axis=1)
        if members.shape[1] < MIN_FOR_RANKS:
            result[part, 1] = np.minimum(result[part, 0], centres[part] - halves[part])
            result[part, 2] = np.maximum(result[part, 0], centres[part] + halves[part])
        else:
            cut = max(0, signed_rank_cut(members.shape[1], 1 - confidence))
            result[part, 1:] = means[:, [cut, -1 - cut]]
    return result


def estimates_of(samples: Sequence[Sequence[float]]) -> list[Estimate]:
    """`estimates` of samples with something in common; `UNKNOWN` for a sample without values."""
    number = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    known = estimates(number, np.array([value for sample in samples for value in sample]))
    rows = [Estimate(*row) for row in known.tolist()]
    return rows + [UNKNOWN] * (len(samples) - len(rows))


def _student(groups: np.ndarray, values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each group and the half-width of Student's interval for it, NaN for a single value."""
    sizes = np.bincount(groups)
    with np.errstate(invalid="ignore", divide="ignore"):  # a number without values, and a value without others
        means = np.bincount(groups, values) / sizes
        variances = np.bincount(groups, (values - means[groups]) ** 2) / (sizes - 1)
    several = sizes > 1
    halves = np.full(len(sizes), math.nan)
    variances, freedom = raised(variances[several], sizes[several] - 1.0)
    halves[several] = t_quantiles((1 + confidence) / 2, freedom) * np.sqrt(variances / sizes[several])
    return means, halves


def alike(groups: np.ndarray, cost: Callable[[int], int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups of equal size together: their numbers, and the indices of their members, a row for each group.

    One part needs about `MAX_PAIRS_AT_ONCE` numbers at most, where a group of n members needs `cost(n)` of them.
    """
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]).tolist():
        alike = np.flatnonzero(sizes == size)
        for part in np.array_split(alike, math.ceil(len(alike) * cost(size) / MAX_PAIRS_AT_ONCE)):
            yield part, order[starts[part][:, None] + np.arange(size)]


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann value with Student's interval for the mean; NaN bounds for a single value."""
    sample = _sample(values)
    [centre], [half] = _student(np.zeros(len(sample), dtype=int), sample, confidence)
    value = np.median(walsh_averages(sample))
    return Estimate(float(value), float(np.minimum(value, centre - half)), float(np.maximum(value, centre + half)))


def signed_rank_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann value with the interval of the shifts that the signed-rank test keeps; needs six values."""
    means = walsh_averages(_sample(values))
    cut = max(0, signed_rank_cut(len(values), 1 - confidence))
    return Estimate(float(np.median(means)), float(means[cut]), float(means[-1 - cut]))


def t_quantile(probability: float, freedom: float) -> float:
    """Student's quantile; the normal one for infinite freedom. As `scipy.stats.t.ppf`, a hundred times quicker."""
    return float(t_quantiles(probability, np.array(freedom)))


def t_quantiles(probability: float, freedom: np.ndarray) -> np.ndarray:
    """`t_quantile` for each number of degrees of freedom."""
    finite = np.where(np.isinf(freedom), 1.0, freedom)
    quantiles: np.ndarray = np.where(
        np.isinf(freedom), special.ndtri(probability), special.stdtrit(finite, probability)
    )
    return quantiles


def _sample(values: Sequence[float]) -> np.ndarray:
    if not len(values):
        raise ValueError("no values")
    return np.asarray(values, dtype=float)


def walsh_averages(samples: np.ndarray) -> np.ndarray:
    """The sorted means of all pairs of a row, each value with itself included: (..., n) -> (..., n (n + 1) / 2)."""
    first, second = np.triu_indices(samples.shape[-1])
    return np.sort((samples[..., first] + samples[..., second]) / 2, axis=-1)


@lru_cache
def signed_rank_cut(n: int, alpha: float) -> int:
    """Walsh averages to leave out at each end: the largest k with P(T <= k) <= alpha / 2, T the signed-rank statistic.

    T counts the Walsh averages on one side of a shift, so the shift is kept where k + 1 or more lie there.
    """
    if n > MAX_FOR_EXACT:
        mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
        return max(0, math.floor(mean + float(special.ndtri(alpha / 2)) * math.sqrt(variance)))
    subsets = np.zeros(n * (n + 1) // 2 + 1)  # number of subsets of the ranks 1..n, by their sum
    subsets[0] = 1
    for rank in range(1, n + 1):
        subsets[rank:] = subsets[rank:] + subsets[: len(subsets) - rank]
    below = np.cumsum(subsets) / 2.0**n  # P(T <= k)
    return int(np.searchsorted(below, alpha / 2, side="right")) - 1
