"""The time of a case in one replicate, and values with intervals from the replicates of many cases.

**A shared machine has states**: a fixed call takes 0.46 ms for a tenth of a second, then 0.60 ms. The ratio of two
cases that took turns (`log_ratios`) is the Hodges-Lehmann shift between the logarithms of their times: the median of
all differences between their quantiles, which compares each state of the machine with itself (Hodges & Lehmann 1963,
doi:10.1214/aoms/1177704172).

**What reports show** (`estimates`) is Hodges-Lehmann too: the median of all pairwise means. With few replicates the
interval is Student's: a run ends once its intervals are narrow, and a case whose spread is small by chance would end it
too early, so its variance borrows from the other cases. With more replicates it holds every shift that the two-sided
Wilcoxon signed-rank test does not reject, which needs no normal distribution, only symmetry.

**What verdicts test** (`locations`) is the mean without the lowest and highest tenth, with the error that follows from
the winsorized variance (Tukey & McLaughlin 1963; Yuen 1974, doi:10.1093/biomet/61.1.165): a stall of the machine that
spoils one replicate does not spoil the case.

**Variances borrow** (`raised`) since few replicates tell little of them, which limits a t test far out in its tail.
Most cases of a suite have similar noise, so a variance that is small by chance is raised towards the typical one, the
more the cases agree (Smyth 2004, doi:10.2202/1544-6115.1027). A variance is never lowered, since a case may be noisier
than the others. The other cases add at most as many degrees of freedom as a case has itself, because noise that hits a
whole replicate affects all cases and makes their variances dependent.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np
from scipy import special

from rnnbench.analysis.quiet import QuietBlocks, counted_blocks, low_quantiles
from rnnbench.store.records import Window

LEVELS = (np.arange(49) + 0.5) / 49  # of the quantiles that stand for the calls of a case
MIDDLE = len(LEVELS) // 2
MAX_AT_ONCE = 1 << 6  # pairs of cases, whose differences then fit the cache
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
CLIPPED_SHARE = 0.1  # of the logarithms of variances, at each end
CLIPPING_STEPS = 20_000  # of probability
MAX_GAIN = 1.0  # degrees of freedom that a variance gains at most from the other cases, for each of its own
MAX_MUTUAL_GAIN = 40.0  # the same if variances are lowered, too: cases of a replicate share some 2% of their variance
BLOCK_SPREAD = 0.06  # a low quantile of n quiet blocks scatters by 0.06 / n
LEAST_BETWEEN = 0.003  # standard deviation of undisturbed log-ratios from replicate to replicate, at least
BETWEEN_RUNS = 0.004  # added to the half-width of an interval: two runs differ by more than either shows
# Of the logarithm of an undisturbed ratio, added to its half-width in quadrature: the less alike two modules are, the
# more runs differ. In sixteen runs, ratios of 2.3 to 4.5 scattered by 0.6 to 1.2% from run to run, of which their
# replicates explain 0.4% (`unlike-coverage`). Replicates that were forked from four processes scattered no less.
BETWEEN_UNLIKE = 0.012
MIN_QUIET_REPLICATES = 2  # with enough quiet blocks, so that a time or ratio is undisturbed


@dataclass(frozen=True)
class Times:
    """The times of a case's calls in one replicate."""

    log_quantiles: np.ndarray  # (49,) of the seconds per call
    mean: float  # seconds; it also shows what slows only some calls
    quiet: QuietBlocks | None = None  # None: none was quiet, or none is known to be

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.exp(self.log_quantiles[MIDDLE]))


def log_ratio(case: Times, reference: Times) -> float:
    """Return the logarithm of the ratio of two cases that took turns."""
    return float(log_ratios([case.log_quantiles], [reference.log_quantiles])[0])


def undisturbed_log_ratio(case: Times, reference: Times) -> tuple[float, int]:
    """Return the log-ratio of two cases by their quiet blocks, and as how many each counts; NaN and 0 if too few."""
    if case.quiet is None or reference.quiet is None:
        return math.nan, 0
    counted = counted_blocks(np.array([case.quiet.blocks]), np.array([reference.quiet.blocks]))
    [ratio] = low_quantiles((case.quiet.logs - reference.quiet.logs)[None], counted)
    return float(ratio), int(counted[0])


def log_ratios(cases: np.ndarray | list[np.ndarray], references: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """`log_ratio` of each case's quantiles to those of the same place among others: n of (49,) each -> (n,)."""
    shifts = np.empty(len(cases))
    middle = len(LEVELS) ** 2 // 2
    for first in range(0, len(cases), MAX_AT_ONCE):
        rows = slice(first, first + MAX_AT_ONCE)
        differences = np.array(cases[rows])[:, :, None] - np.array(references[rows])[:, None, :]
        differences = differences.reshape(-1, len(LEVELS) ** 2)
        differences.partition(middle, axis=1)  # a tenth of the time of `np.median`, which looks for NaN
        shifts[rows] = differences[:, middle]
    return shifts


def log_quantiles(groups: np.ndarray, sizes: np.ndarray, seconds: np.ndarray, calls: np.ndarray) -> np.ndarray:
    """Return the logarithms of the quantiles of the calls of each group of windows, numbered 0, 1, 2, ...: (n, 49).

    `seconds` has the order statistics of all windows, one window after another, and `sizes` how many each has. They
    stand for equal shares of its `calls`.
    """
    result = np.full((groups.max(initial=-1) + 1, len(LEVELS)), np.nan)
    weights = np.repeat(calls / sizes, sizes)
    for part, members in alike(np.repeat(groups, sizes), lambda size: size * len(LEVELS)):
        points = seconds[members]  # (groups, points of each)
        order = np.argsort(points, axis=1)
        upto = np.cumsum(np.take_along_axis(weights[members], order, axis=1), axis=1)
        row = np.arange(len(part))[:, None]  # added to the shares, so that one search serves all rows
        first = np.searchsorted((upto / upto[:, -1:] + row).ravel(), (LEVELS - 1e-9 + row).ravel())
        points = np.take_along_axis(points, order, axis=1).ravel()[first]
        result[part] = np.log(points).reshape(-1, len(LEVELS))
    return result


def pooled_times(
    quantiles: Sequence[Sequence[float]],
    calls: Sequence[int],
    seconds: Sequence[float],
    quiet: QuietBlocks | None = None,
) -> Times:
    """Return the times of a case from the order statistics, the number of calls and the total seconds of its windows.

    `rnnbench.analysis.run_times.reduced` does the same for a whole frame at once.
    """
    sizes = [len(each) for each in quantiles]
    points = [value for each in quantiles for value in each]
    [logs] = log_quantiles(np.zeros(len(calls), dtype=int), np.array(sizes), np.array(points), np.array(calls))
    return Times(logs, sum(seconds) / sum(calls), quiet)


def times_by_case(windows: Iterable[Window]) -> dict[str, Times]:
    """Return the times of each case (by its key) from all windows of one visit."""
    cases: dict[str, list[Window]] = {}
    for window in windows:
        cases.setdefault(window.case, []).append(window)
    return {
        case: pooled_times(
            [each.quantiles for each in own],
            [each.calls for each in own],
            [each.seconds for each in own],
            QuietBlocks.of(
                [each.quiet_low for each in own],
                [each.quiet_blocks for each in own],
                [each.quiet_seconds or 0.0 for each in own],
                [each.quiet_clipped for each in own],
            ),
        )
        for case, own in cases.items()
    }


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
        """Return the same centre with an independent variance added to that of its error.

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


def estimate_columns(name: str, known: Estimate | None) -> dict[str, float | None]:
    """Return an estimate as columns of a frame: `name`, `name_low` and `name_high`; None if there is none."""
    values = (None, None, None) if known is None else astuple(known)
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
    known = estimates(number, np.array([value for sample in samples for value in sample]))
    rows = [Estimate(*row) for row in known.tolist()]
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
    known = [number for number, sample in enumerate(usable) if len(sample) >= MIN_QUIET_REPLICATES]
    result = [UNKNOWN] * len(samples)
    if not known:
        return result
    groups = np.repeat(np.arange(len(known)), [len(usable[number]) for number in known])
    values, blocks = np.array([each for number in known for each in usable[number]]).T
    for number, row in zip(known, undisturbed_estimates(groups, values, blocks, confidence).tolist(), strict=True):
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
    values, errors, freedom, kept = np.zeros((4, len(sizes)))
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        ordered = np.sort(np.array([samples[row] for row in rows.tolist()], dtype=float), axis=1)
        cut = max(1, round(TRIMMED_SHARE * size)) if size >= min_to_trim else 0
        left = size - 2 * cut
        values[rows], errors[rows], kept[rows] = ordered[:, cut : size - cut].mean(axis=1), math.nan, left
        if size > 1:
            winsorized = ordered.clip(ordered[:, [cut]], ordered[:, [size - 1 - cut]])
            errors[rows] = np.sqrt(winsorized.var(axis=1, ddof=1) * (size - 1) / (left * (left - 1)))
            freedom[rows] = left - 1
    use = freedom > 0
    if use.sum() >= 2:
        variances, freedom = raised(errors**2 * kept, freedom, with_zeros=True)
        errors[use] = np.sqrt(variances[use] / kept[use])
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


def t_quantile(probability: float, freedom: float) -> float:
    """Return Student's quantile; the normal one for infinite freedom. A hundred times quicker than scipy.stats."""
    return float(t_quantiles(probability, np.array(freedom)))


def t_quantiles(probability: float, freedom: np.ndarray) -> np.ndarray:
    """Return `t_quantile` for each number of degrees of freedom."""
    is_normal = np.isinf(freedom)
    student = special.stdtrit(np.where(is_normal, 1.0, freedom), probability)
    quantiles: np.ndarray = np.where(is_normal, special.ndtri(probability), student)
    return quantiles


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


def raised(
    variances: np.ndarray, freedom: np.ndarray, max_gain: float = MAX_GAIN, *, with_zeros: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Raise the variances of similar samples towards the typical one, as `moderated` does, and lower none."""
    mixed, more = moderated(variances, freedom, max_gain, with_zeros=with_zeros)
    return np.maximum(mixed, variances), more


def moderated(
    variances: np.ndarray, freedom: np.ndarray, max_gain: float, *, with_zeros: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Move the variances of similar samples towards the typical one; return them and their degrees of freedom.

    `max_gain`: degrees of freedom that one gains at most, for each of its own; it never has more than all together.
    A variance without freedom stays as it is, and so do all variances if fewer than two are above zero. `with_zeros`:
    also move a variance of zero, because the sample's values are equal by chance or by the resolution of the readings,
    and not by definition as a case's ratios to itself are. It says nothing about the typical variance in any case.

    The lowest and highest tenth of the variances are clipped (Phipson et al. 2016, doi:10.1214/16-AOAS920), so that a
    few noisy cases do not hide that the others agree.
    """
    seen = (freedom > 0) & (variances > 0)
    use = freedom > 0 if with_zeros else seen
    if seen.sum() < 2:
        return variances, freedom
    half = freedom[seen] / 2
    logs = np.log(variances[seen]) - special.digamma(half) + np.log(half)
    clipped = logs.clip(*np.quantile(logs, (CLIPPED_SHARE, 1 - CLIPPED_SHARE)))
    kept, lifted = clipping(float(2 * half.mean()))
    centre = float(clipped.mean()) - lifted
    spread = float(clipped.var(ddof=1)) / kept - float(special.polygamma(1, half).mean())
    mixed = variances.copy()
    more = freedom.copy()
    if spread <= 0:  # all agree on the typical variance
        typical_freedom = math.inf
        mixed[use] = math.exp(centre)
    else:
        typical_half = _inverse_trigamma(spread)
        typical_freedom = 2 * typical_half
        typical = math.exp(centre + float(special.digamma(typical_half)) - math.log(typical_half))
        mixed[use] = (typical_freedom * typical + freedom[use] * variances[use]) / (typical_freedom + freedom[use])
    more[use] = np.minimum(more[use] + np.minimum(typical_freedom, max_gain * freedom[use]), freedom.sum())
    return mixed, more


@cache
def clipping(freedom: float) -> tuple[float, float]:
    """Return what clipping does to the logarithms of variances with so many degrees of freedom.

    The share of their variance that is left, and how much their mean rises: 0.55 and 0.16 for one degree of freedom,
    0.68 and 0 for very many, as of normal values.
    """
    logs = np.log(special.gammaincinv(freedom / 2, (np.arange(CLIPPING_STEPS) + 0.5) / CLIPPING_STEPS))
    clipped = logs.clip(*np.quantile(logs, (CLIPPED_SHARE, 1 - CLIPPED_SHARE)))
    return float(clipped.var() / logs.var()), float(clipped.mean() - logs.mean())


def _inverse_trigamma(value: float) -> float:
    """Return the x whose trigamma is `value`; trigamma(x) lies between 1 / x and 1 / x + 1 / x**2."""
    from scipy import optimize

    largest = (1 + math.sqrt(1 + 4 * value)) / (2 * value)
    # Half and twice, since a trigamma that is rounded may lie beyond its bounds.
    return float(optimize.brentq(lambda x: special.polygamma(1, x) - value, 0.5 / value, 2 * largest, xtol=1e-300))
