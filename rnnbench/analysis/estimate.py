"""Values with intervals, from the replicates of many cases.

**What reports show** (`estimates`) is the Hodges-Lehmann estimate: the median of all pairwise means (Hodges & Lehmann
1963, doi:10.1214/aoms/1177704172). With few replicates the interval is Student's: a run ends once its intervals are
narrow, and a case whose spread is small by chance would end it too early, so its variance borrows from the other cases
(`rnnbench.analysis.variances`). With more replicates the interval holds every shift that the two-sided Wilcoxon
signed-rank test does not reject, which needs no normal distribution, only symmetry.

**What verdicts test** (`locations`) is the mean without the lowest and highest tenth, with the error that follows from
the winsorized variance (Tukey & McLaughlin 1963; Yuen 1974, doi:10.1093/biomet/61.1.165): a stall of the machine that
spoils one replicate does not spoil the case.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import chain

import numpy as np
from scipy import special

from rnnbench.analysis.variances import CLIPPED_SHARE, MAX_MUTUAL_GAIN, moderated, raised, t_quantile, t_quantiles

CONFIDENCE = 0.95
# Below this the signed-rank interval is up to a quarter wider than Student's, which covers as well: see the coverage
# table of `tests/validation`. Below six values the signed-rank test can't reject at 5% at all.
MIN_FOR_RANKS = 10
MAX_FOR_EXACT = 50
MAX_PAIRS_AT_ONCE = 1 << 23  # pairs of values, so that many cases with many replicates do not fill the memory
FARTHEST_LOG = 300.0  # of a ratio; the times of a spoilt run may differ so much that the ends of intervals overflow
ENDS = ("", "_low", "_high")  # of the columns of a value and its interval
MIN_TO_TRIM = 5
TRIMMED_SHARE = 0.1  # at each end, at least one value
BLOCK_SPREAD = 0.06  # a low quantile of n quiet blocks scatters by 0.06 / n
LEAST_BETWEEN = 0.003  # standard deviation of undisturbed log-ratios from replicate to replicate, at least
BETWEEN_RUNS = 0.004  # added to the half-width of an interval: two runs differ by more than either shows
# Of the logarithm of an undisturbed ratio, added to its half-width in quadrature: the less alike two modules are, the
# more runs differ. In sixteen runs, ratios of 2.3 to 4.5 scattered by 0.6 to 1.2% from run to run, of which their
# replicates explain 0.4% (`unlike-coverage`). Replicates that were forked from four processes scattered no less.
BETWEEN_UNLIKE = 0.012
MIN_QUIET_REPLICATES = 2  # with enough quiet blocks, so that a time or ratio is undisturbed


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; the bounds are NaN for a single replicate, which says nothing about the spread."""

    value: float
    lower: float
    upper: float

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
    """Return the Hodges-Lehmann estimate of a single sample, one value from each replicate, as `estimates` does.

    The interval is NaN for one value.
    """
    return Estimate(*estimates(np.zeros(len(values), dtype=int), np.asarray(values), confidence)[0].tolist())


def estimates_of(samples: Sequence[Sequence[float] | np.ndarray]) -> list[Estimate]:
    """Return `estimates` of samples with something in common; `UNKNOWN` for a sample without values."""
    number = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    array = estimates(number, np.array([*chain(*samples)]))
    rows = [Estimate(*row) for row in array.tolist()]
    return rows + [UNKNOWN] * (len(samples) - len(rows))


def estimates(groups: np.ndarray, values: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Estimate the centre of the values of each group, for group numbers 0, 1, 2, ...: value, lower and upper.

    The groups are samples with something in common, such as the cases of a run: their variances borrow from each other.
    """
    values = np.asarray(values, dtype=float)
    sizes = np.bincount(groups)
    result = np.full((len(sizes), 3), math.nan)
    halves = np.full(len(sizes), math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # a number without values, and a value without others
        centres = np.bincount(groups, values) / sizes
        variances = np.bincount(groups, (values - centres[groups]) ** 2) / (sizes - 1)
    several = sizes > 1
    variances, freedom = raised(variances[several], sizes[several] - 1.0)
    halves[several] = t_quantiles((1 + confidence) / 2, freedom) * np.sqrt(variances / sizes[several])
    for part, members in alike(groups, lambda size: size**2):
        first, second = np.triu_indices(members.shape[1])
        means = np.sort((values[members][:, first] + values[members][:, second]) / 2, axis=1)  # Walsh averages
        result[part, 0] = np.median(means, axis=1)
        if members.shape[1] < MIN_FOR_RANKS:
            result[part, 1] = np.minimum(result[part, 0], centres[part] - halves[part])
            result[part, 2] = np.maximum(result[part, 0], centres[part] + halves[part])
        else:
            cut = max(0, signed_rank_cut(members.shape[1], 1 - confidence))
            result[part, 1:] = means[:, [cut, -1 - cut]]
    return result


def undisturbed_estimates(
    groups: np.ndarray, values: np.ndarray, blocks: np.ndarray, confidence: float = CONFIDENCE
) -> np.ndarray:
    """Estimate the centre of the values of each group, for group numbers 0, 1, 2, ...: value, lower and upper.

    `values`: the logarithms that each replicate gives, by a quantile of so many `blocks`, at least one. A value of few
    blocks counts for less. The groups are the cases of a run: their variances borrow from each other, in both
    directions, as far as the cases agree. The interval is NaN for a single replicate.
    """
    sizes = np.bincount(groups)
    of_blocks = (BLOCK_SPREAD / blocks) ** 2
    worth = 1 / (_between(groups, values, of_blocks) + of_blocks)
    whole = np.bincount(groups, worth)
    with np.errstate(invalid="ignore", divide="ignore"):  # a number without values, and a value without others
        centres = np.bincount(groups, worth * values) / whole
        scales = np.bincount(groups, worth * (values - centres[groups]) ** 2) / (sizes - 1)
    result = np.column_stack([centres, np.full((len(sizes), 2), math.nan)])
    several = sizes > 1
    scales, freedom = moderated(scales[several], sizes[several] - 1.0, MAX_MUTUAL_GAIN)
    halves = np.hypot(t_quantiles((1 + confidence) / 2, freedom) * np.sqrt(scales / whole[several]), BETWEEN_RUNS)
    is_itself = scales == 0  # a reference's ratio to itself
    halves[is_itself] = 0.0
    result[several, 1] = centres[several] - halves
    result[several, 2] = centres[several] + halves
    return result


def widened_by_runs(ratios: np.ndarray) -> np.ndarray:
    """Return undisturbed log-ratios, (n, 3), with intervals that hold what two runs of unlike modules differ by."""
    values = ratios[:, :1]
    halves = np.hypot(ratios[:, 1:] - values, BETWEEN_UNLIKE * np.abs(values))
    return np.hstack([values, values + halves * [-1, 1]])


def undisturbed_estimates_of(
    samples: Sequence[Sequence[tuple[float, int]]], confidence: float = CONFIDENCE
) -> list[Estimate]:
    """Return `undisturbed_estimates` of samples of values with their numbers of blocks; `UNKNOWN` for too few."""
    usable = [[each for each in sample if each[1]] for sample in samples]
    numbers = [number for number, sample in enumerate(usable) if len(sample) >= MIN_QUIET_REPLICATES]
    result = [UNKNOWN] * len(samples)
    if not numbers:
        return result
    groups = np.repeat(np.arange(len(numbers)), [len(usable[number]) for number in numbers])
    values, blocks = np.array([*chain(*(usable[number] for number in numbers))]).T
    for number, row in zip(numbers, undisturbed_estimates(groups, values, blocks, confidence).tolist(), strict=True):
        result[number] = Estimate(*row)
    return result


def _between(groups: np.ndarray, values: np.ndarray, of_blocks: np.ndarray) -> float:
    """Return the variance between the replicates of a case that few blocks do not explain, pooled over all cases."""
    sizes = np.bincount(groups)
    several = sizes > 1
    means = np.bincount(groups, values) / np.maximum(sizes, 1)
    squares = np.bincount(groups, (values - means[groups]) ** 2)[several] / (sizes[several] - 1)
    squares = squares[squares > 0]  # a reference does not differ from itself
    if not len(squares):
        return LEAST_BETWEEN**2
    ends = np.quantile(squares, (CLIPPED_SHARE, 1 - CLIPPED_SHARE))
    return max(LEAST_BETWEEN**2, float(squares.clip(*ends).mean() - np.median(of_blocks)))


def locations(samples: Sequence[Sequence[float] | np.ndarray], min_to_trim: int = MIN_TO_TRIM) -> list[Location]:
    """Return the centres of samples with something in common, each with an error that the others helped to estimate.

    Samples of fewer than `min_to_trim` values are not trimmed; each has at least one.
    """
    sizes = np.array([len(sample) for sample in samples])
    values = np.zeros(len(sizes))
    errors = np.zeros(len(sizes))
    freedom = np.zeros(len(sizes))
    counts = np.zeros(len(sizes))  # of the values that are not trimmed
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        ordered = np.sort(np.array([samples[row] for row in rows.tolist()], dtype=float), axis=1)
        cut = max(1, round(TRIMMED_SHARE * size)) if size >= min_to_trim else 0
        count = size - 2 * cut
        values[rows] = ordered[:, cut : size - cut].mean(axis=1)
        errors[rows] = math.nan
        counts[rows] = count
        if size > 1:
            winsorized = ordered.clip(ordered[:, [cut]], ordered[:, [size - 1 - cut]])
            errors[rows] = np.sqrt(winsorized.var(axis=1, ddof=1) * (size - 1) / (count * (count - 1)))
            freedom[rows] = count - 1
    use = freedom > 0
    if use.sum() >= 2:
        variances, freedom = raised(errors**2 * counts, freedom, with_zeros=True)
        errors[use] = np.sqrt(variances[use] / counts[use])
    return [Location(*row) for row in zip(values.tolist(), errors.tolist(), freedom.tolist(), strict=True)]


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


def signed_rank_cut(n: int, alpha: float) -> int:
    """Return how many Walsh averages to leave out at each end: the largest k with P(T <= k) <= alpha / 2.

    T is the signed-rank statistic. It counts the Walsh averages on one side of a shift, so the shift is kept where
    k + 1 or more lie there.
    """
    if n > MAX_FOR_EXACT:
        mean = n * (n + 1) / 4
        variance = n * (n + 1) * (2 * n + 1) / 24
        return max(0, math.floor(mean + float(special.ndtri(alpha / 2)) * math.sqrt(variance)))
    subsets = np.zeros(n * (n + 1) // 2 + 1)  # number of subsets of the ranks 1..n, by their sum
    subsets[0] = 1
    for rank in range(1, n + 1):
        subsets[rank:] = subsets[rank:] + subsets[: len(subsets) - rank]
    below = np.cumsum(subsets) / 2.0**n  # P(T <= k)
    return int(np.searchsorted(below, alpha / 2, side="right")) - 1
