"""The ratios of many runs over time: where a case's ratio changed for good, and how sure that is.

Each run gives a case one point, its log-ratio to the reference with a standard error. Points of unchanged code scatter
by more than that error: each run has a bias of its own, from the memory layout and the state of the machine that day,
which the next run may share. The variance of each point includes the one that such a bias leaves in the mean of many
runs, so that slow random variation does not count as a change.

PELT (Killick, Fearnhead & Eckley 2012, doi:10.1080/01621459.2012.737745, by `ruptures`) cuts a case's line into levels
of two points or more. Each change is then tested: the two neighbouring levels by Student's t, with the scatter of the
case's points drawn towards that of all cases. Its p is multiplied by the number of places where the change could have
been found (Bonferroni), and over all cases Benjamini & Hochberg decide, at `verdict.Q`. The search chose the places
from the same points, so Q is not a proven bound: `tests/validation/history_simulated.py` shows the error rates.

Runs in different environments are never on one line: another machine or another torch is not a change of the code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage, stats

from rnnbench.analysis.environments import differences, processor
from rnnbench.analysis.estimate import Estimate, Location, as_ratio, raised
from rnnbench.analysis.stored import StoredRun, estimated_ratios, located_ratios
from rnnbench.analysis.verdict import CONFIDENCE, Q
from rnnbench.store.records import Case
from rnnbench.store.run_info import RunInfo

MIN_CHANGE = 0.01  # nobody acts on a smaller change
PENALTY = 3.0  # times log n: what a change must gain in squared standard errors
MIN_LEVEL_POINTS = 2  # points of a level; a single one may be a run that something else slowed
LOWER_SHARE = 0.6  # of squared differences, whose mean a few real changes don't move
LOWER_SHARE_OF_VARIANCE = 0.2146  # what that mean is of the variance, for a normal distribution
# Points of the longest line for each run between the points of a pair: few pairs that close have a step between them.
POINTS_OVER_LAG = 5
MAX_CORRELATION = 0.9  # of neighbouring runs
# What is assumed of the correlation, and the number of differences that this counts for: few say little of it, and
# false changes follow if it is taken as too small.
ASSUMED_CORRELATION = 0.6
ASSUMED_DIFFERENCES = 100


@dataclass(frozen=True)
class Point:
    """One run on a case's line: its ratio to the reference, with the 95% interval of that run alone."""

    run: int  # its index among the runs of the history
    ratio: Estimate


@dataclass(frozen=True)
class LevelChange:
    """A lasting change of a case's ratio, between two neighbouring points of its line."""

    after: int  # the index in the line of the first point with the new level
    ratio: Estimate  # the new level over the old: 1.05 is 5% slower against the reference
    p_value: float  # of no change at all, corrected for the places where it could have been
    is_significant: bool = False  # and not too small to matter


@dataclass(frozen=True)
class CaseHistory:
    """A case over the runs of one environment."""

    case: Case
    era: int
    points: tuple[Point, ...]
    levels: tuple[Estimate, ...]  # the level at each point; the scatter from run to run is in its interval
    changes: tuple[LevelChange, ...]

    @property
    def significant(self) -> tuple[LevelChange, ...]:
        """The changes that pass the test."""
        return tuple(change for change in self.changes if change.is_significant)


@dataclass(frozen=True)
class RunScatter:
    """What differs from run to run in a case's log-ratio, beyond each run's own error."""

    variance: float
    correlation: float  # of neighbouring runs, from 0 to `MAX_CORRELATION`

    @property
    def lasting_variance(self) -> float:
        """The variance of independent runs whose mean would be as uncertain as that of these correlated runs."""
        return self.variance * (1 + self.correlation) / (1 - self.correlation)

    @property
    def of_neighbours(self) -> float:
        """The variance of the difference of neighbouring runs, which is known whatever their correlation is."""
        return 2 * self.variance * (1 - self.correlation)


@dataclass(frozen=True)
class Era:
    """The runs of one environment, by their indices in the history."""

    runs: tuple[int, ...]
    scatter: RunScatter
    differences: tuple[str, ...]  # from the first era's environment


@dataclass(frozen=True)
class History:
    """Runs in the order in which they were started, and every case's lines."""

    runs: tuple[tuple[str, RunInfo], ...]
    eras: tuple[Era, ...]
    lines: tuple[CaseHistory, ...]
    unidentified: int = 0  # runs that are left out, since their machine is not known


@dataclass(frozen=True)
class Line:
    """The points of a case that are judged, cut into levels."""

    values: np.ndarray
    weights: np.ndarray  # the inverse variances of the points
    starts: Sequence[int]  # of its levels, as indices
    factor: float = 1.0  # the points' variances over those that the weights imply
    freedom: float = 0.0  # degrees of freedom of `factor`

    def cost(self) -> float:
        """Return the weighted sum of the points' squared distances from their levels."""
        counts = np.diff([*self.starts, len(self.values)])
        means = np.repeat([level.value for level in self.levels()], counts)
        return float((self.weights * (self.values - means) ** 2).sum())

    def levels(self) -> list[Location]:
        """Return the level of each stretch."""
        parts = [slice(*ends) for ends in pairwise([*self.starts, len(self.values)])]
        return [
            Location(
                float(np.average(self.values[part], weights=self.weights[part])),
                math.sqrt(self.factor / float(self.weights[part].sum())),
                self.freedom,
            )
            for part in parts
        ]

    def changes(self) -> list[LevelChange]:
        """Return the changes between neighbouring levels, each tested by itself."""
        count, found = len(self.values), []
        # For one change, or for two changes that cut a piece out of the middle.
        places = count - 1 if len(self.starts) == 2 else math.comb(count, 2)
        for start, (before, after) in zip(self.starts[1:], pairwise(self.levels()), strict=True):
            shift = Location(after.value - before.value, math.hypot(before.error, after.error), self.freedom)
            p_value = 2 * min(shift.p_above(0.0), shift.p_below(0.0)) * places
            found.append(LevelChange(start, as_ratio(shift.interval(CONFIDENCE)), min(1.0, p_value)))
        return found


def history(runs: Sequence[StoredRun]) -> History:
    """Return the lines of all cases that have a reference in two runs of one environment or more.

    Runs by an older rnnbench, which did not record the machine's identity, are left out and counted.
    """
    known = [run for run in runs if processor(run.info) is not None]
    ordered = sorted(known, key=lambda run: (run.info.started, run.name))
    located, estimated = [located_ratios(run) for run in ordered], [estimated_ratios(run) for run in ordered]
    cases = {key: measurement.case for run in ordered for key, measurement in run.measurements.items()}
    eras: list[Era] = []
    lines: list[tuple[int, Case, list[int], Line]] = []
    alike: list[list[int]] = []  # the indices of the runs of each environment
    for index, run in enumerate(ordered):
        same = next((indices for indices in alike if not differences(ordered[indices[0]].info, run.info)), None)
        if same is None:
            alike.append(same := [])
        same.append(index)
    for number, indices in enumerate(alike):
        logs: dict[str, list[tuple[int, Location]]] = {}
        for index in indices:
            for key, (low, _) in located[index].items():
                logs.setdefault(key, []).append((index, low))
        kept = {key: points for key, points in logs.items() if not cases[key].is_reference and len(points) > 1}
        of_cases = [[low for _, low in points] for points in kept.values()]
        scatter = run_scatter(of_cases)
        apart = differences(ordered[0].info, ordered[indices[0]].info)
        eras.append(Era(tuple(indices), scatter, tuple(apart)))
        cut = cut_lines(of_cases, scatter.lasting_variance)
        lines += [
            (number, cases[key], [run for run, _ in points], line)
            for (key, points), line in zip(kept.items(), cut, strict=True)
        ]
    histories = []
    for (era, case, of_runs, line), changes in zip(lines, judged([line.changes() for *_, line in lines]), strict=True):
        starts = [0, *(change.after for change in changes if change.is_significant)]
        counts = np.diff([*starts, len(of_runs)])
        levels = [as_ratio(level.interval(CONFIDENCE)) for level in replace(line, starts=starts).levels()]
        at_points = tuple(level for level, count in zip(levels, counts, strict=True) for _ in range(count))
        points = tuple(Point(run, estimated[run][case.key]) for run in of_runs)
        histories.append(CaseHistory(case, era, points, at_points, changes))
    infos = tuple((run.name, run.info) for run in ordered)
    return History(infos, tuple(eras), tuple(histories), len(runs) - len(known))


def cut_lines(lines: Sequence[Sequence[Location]], run_variance: float) -> list[Line]:
    """Cut every case's points into levels; `run_variance`: what a run adds to the variance of each point."""
    cut = []
    for points in lines:
        values = np.array([point.value for point in points])
        variances = np.maximum([own_variance(point) + run_variance for point in points], 1e-12)  # never surer than that
        cut.append(Line(values, 1 / variances, starts_of_levels(values, float(np.median(variances)))))
    freedom = np.array([len(line.values) - len(line.starts) for line in cut], dtype=float)
    # 1 if a line's points scatter as the errors say. What differs from run to run is in the points' variances already,
    # so lines may gain from all others.
    factors, freedoms = raised(np.array([line.cost() for line in cut]) / freedom, freedom, max_gain=math.inf)
    return [
        replace(line, factor=max(1.0, factor), freedom=free)
        for line, factor, free in zip(cut, factors.tolist(), freedoms.tolist(), strict=True)
    ]


def starts_of_levels(values: np.ndarray, variance: float) -> list[int]:
    """Return the first index of each stretch of points that have one level; `[0]` if nothing changed.

    A running median of three leaves out a single run that something else slowed, and moves no step.
    """
    values = ndimage.median_filter(values, 3)
    scaled, penalty = (values - values.mean()) / math.sqrt(variance), PENALTY * math.log(len(values))
    if len(values) < 2 * MIN_LEVEL_POINTS or float(scaled @ scaled) <= penalty:
        return [0]  # no change could gain what it costs
    import ruptures

    search = ruptures.Pelt(model="l2", min_size=MIN_LEVEL_POINTS, jump=1)
    return [0, *search.fit(scaled).predict(pen=penalty)[:-1]]


def judged(changes: Sequence[Sequence[LevelChange]]) -> list[tuple[LevelChange, ...]]:
    """Decide each line's changes, by Benjamini & Hochberg over all of them and the lines without any."""
    p_values = [change.p_value for line in changes for change in line]
    if not p_values:
        return [() for _ in changes]
    quiet = [1.0 for line in changes if not line]
    adjusted = iter(stats.false_discovery_control([*p_values, *quiet])[: len(p_values)].tolist())
    return [
        tuple(
            replace(change, is_significant=next(adjusted) <= Q and abs(change.ratio.value - 1) >= MIN_CHANGE)
            for change in line
        )
        for line in changes
    ]


def run_scatter(lines: Sequence[Sequence[Location]]) -> RunScatter:
    """Estimate from all lines together how points scatter from run to run beyond their own errors.

    Of a bias with variance v and correlation r, differences of runs that are k apart have the variance 2 v (1 - r^k):
    the r is taken that explains best how differences grow with the distance of the runs.
    """
    lags = np.arange(1, max(2, max(map(len, lines), default=0) // POINTS_OVER_LAG) + 1)
    variances = [_variance_between(lines, lag) for lag in lags.tolist()]
    if not variances[0]:
        return RunScatter(0.0, 0.0)
    tried = np.linspace(0, MAX_CORRELATION, 91)
    apart = np.log(np.maximum(variances, variances[0])) - np.log1p(-(tried[:, None] ** lags))
    shown = float(tried[apart.var(axis=1).argmin()])
    differences = sum(max(0, len(line) - 2) for line in lines)
    assumed = ASSUMED_DIFFERENCES * ASSUMED_CORRELATION
    correlation = (differences * shown + assumed) / (differences + ASSUMED_DIFFERENCES)
    return RunScatter(variances[0] / 2 / (1 - correlation), correlation)


def _variance_between(lines: Sequence[Sequence[Location]], lag: int) -> float:
    """The variance of differences of points `lag` runs apart, beyond that of the points' errors."""
    pairs = [(point, line[index + lag]) for line in lines for index, point in enumerate(line[:-lag])]
    if not pairs:
        return 0.0
    squares = np.sort([(after.value - before.value) ** 2 for before, after in pairs])
    whole = squares[: math.ceil(LOWER_SHARE * len(squares))].mean() / LOWER_SHARE_OF_VARIANCE
    own = np.median([own_variance(before) + own_variance(after) for before, after in pairs])
    return max(0.0, float(whole - own))


def own_variance(point: Location) -> float:
    """Return the variance of a point by its run's own replicates; 0 if there is only one, which shows none."""
    return point.error**2 if point.freedom else 0.0
