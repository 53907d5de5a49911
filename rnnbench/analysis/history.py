"""The ratios of many runs over time: where a case's ratio changed for good, and how sure that is.

Each run gives a case one point, its log-ratio to the reference with a standard error. Points of unchanged code scatter by
more than that error: each run has a bias of its own for each case, from where things lie in memory and how the machine
is that day. Its variance is estimated over all cases, from the differences of neighbouring runs (their median absolute
value, which a few real changes don't move), and added to each point's own.

Changes are looked for by PELT (Killick, Fearnhead & Eckley 2012, doi:10.1080/01621459.2012.737745, as `ruptures` does
it) with the squared distance from a segment's mean, weighted by each point's variance, as the cost. A change must be
worth `PENALTY` log n. What it finds is then tested: the two neighbouring levels by Student's t, the scatter of the case's
points drawn towards that of all cases; p is multiplied by the number of places where the change could have been found
(Bonferroni); and over all cases Benjamini & Hochberg decide, at `verdict.Q`.

Runs in unlike environments are never on one line: another machine or another torch is not a change of the code.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.location import Location, drawn_together
from rnnbench.analysis.stored import StoredRun, differences, located_ratios, matters
from rnnbench.analysis.verdict import CONFIDENCE, Q
from rnnbench.store.folder import RunInfo
from rnnbench.store.records import Case

PENALTY = 3.0  # times log n: what a change must gain in squared standard errors
FEWEST = 2  # points of a level: one alone may be a run that something else slowed
SPIKE = 2.0  # standard errors
SMALLEST = 0.01  # a smaller change is none that anybody acts on
MAD_TO_SPREAD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Point:
    """One run on a case's line: its ratio to the reference, with the 95% interval of that run alone."""

    run: int  # its place among the runs of the history
    ratio: Estimate


@dataclass(frozen=True)
class Change:
    """A lasting change of a case's ratio between two neighbouring points of its line."""

    after: int  # the place in the line of the first point with the new level
    ratio: Estimate  # the new level over the old: 1.05 is 5% slower against the reference
    p_value: float  # of no change at all, corrected for the places where it could have been
    is_significant: bool = False


@dataclass(frozen=True)
class Line:
    """A case over the runs of one environment."""

    case: Case
    era: int
    points: tuple[Point, ...]
    levels: tuple[Estimate, ...]  # the level at each point, with its 95% interval, run-to-run scatter included
    changes: tuple[Change, ...]

    @property
    def significant(self) -> tuple[Change, ...]:
        """The changes that are beyond doubt."""
        return tuple(change for change in self.changes if change.is_significant)


@dataclass(frozen=True)
class Era:
    """The runs of one environment, by their places in the history."""

    runs: tuple[int, ...]
    spread: float  # standard deviation of a case's log-ratio from run to run, beyond each run's own error
    differences: tuple[str, ...]  # what is not as in the first era


@dataclass(frozen=True)
class History:
    """Runs in the order in which they were started, and every case's lines."""

    runs: tuple[tuple[str, RunInfo], ...]
    eras: tuple[Era, ...]
    lines: tuple[Line, ...]


def history(runs: Sequence[StoredRun]) -> History:
    """The lines of all cases that have a reference in two runs of one environment or more."""
    ordered = sorted(runs, key=lambda run: (run.info.started, run.name))
    located = [located_ratios(run) for run in ordered]
    eras, lines = [], []
    for number, places in enumerate(_alike([run.info for run in ordered])):
        logs: dict[str, list[tuple[int, Location]]] = {}
        for place in places:
            for key, (low, _) in located[place].items():
                logs.setdefault(key, []).append((place, low))
        cases = {key: one.case for place in places for key, one in ordered[place].measurements.items()}
        kept = {key: points for key, points in logs.items() if not cases[key].is_reference and len(points) > 1}
        spread = run_spread([[low for _, low in points] for points in kept.values()])
        apart = differences(ordered[0].info, ordered[places[0]].info) if number else []
        eras.append(Era(tuple(places), spread, tuple(apart)))
        lines += _lines(number, kept, cases, spread)
    return History(tuple((run.name, run.info) for run in ordered), tuple(eras), tuple(_judged(lines)))


def _alike(infos: Sequence[RunInfo]) -> list[list[int]]:
    """The places of runs whose environments are the same in all that matters, together."""
    eras: list[tuple[Mapping[str, Any], list[int]]] = []
    for place, info in enumerate(infos):
        mine = matters(info)
        same = next((places for theirs, places in eras if theirs == mine), None)
        if same is None:
            eras.append((mine, [place]))
        else:
            same.append(place)
    return [places for _, places in eras]


def run_spread(lines: Sequence[Sequence[Location]]) -> float:
    """Standard deviation from run to run that all lines have in common, beyond the points' own errors."""
    values = [np.diff([point.value for point in line]) for line in lines]
    errors = [np.array([_variance(point) for point in line]) for line in lines]
    if not values:
        return 0.0
    apart = np.abs(np.concatenate(values))
    own = np.concatenate([error[1:] + error[:-1] for error in errors])
    return math.sqrt(max(0.0, (MAD_TO_SPREAD * float(np.median(apart))) ** 2 - float(np.median(own))) / 2)


def _variance(point: Location) -> float:
    return point.error**2 if point.freedom else 0.0


def _lines(
    era: int, logs: Mapping[str, Sequence[tuple[int, Location]]], cases: Mapping[str, Case], spread: float
) -> list[Line]:
    """Every case's line with its changes, not yet judged against each other."""
    found, scatter = [], []
    for points in logs.values():
        values = np.array([low.value for _, low in points])
        variances = np.array([_variance(low) for _, low in points]) + spread**2
        weights = 1 / np.maximum(variances, 1e-12)  # a ratio is never known to a millionth
        drawn = without_spikes(values, weights)
        starts = segments(drawn, weights)
        scatter.append(_cost(values, weights, starts))  # spikes included
        found.append((drawn, weights, starts))
    freedom = np.array([len(values) - len(starts) for values, _, starts in found], dtype=float)
    # 1 where a line's points scatter as the errors say; as for variances, cases borrow strength from each other.
    factors, freedoms = drawn_together(np.array(scatter) / np.maximum(freedom, 1), freedom)
    return [
        _line(era, cases[key], points, one, max(1.0, factor), free)
        for (key, points), one, factor, free in zip(logs.items(), found, factors, freedoms, strict=True)
    ]


def _line(
    era: int,
    case: Case,
    points: Sequence[tuple[int, Location]],
    found: tuple[np.ndarray, np.ndarray, list[int]],
    factor: float,
    freedom: float,
) -> Line:
    """A case's line: its levels and what is between them; variances are `factor` times what the weights say."""
    values, weights, starts = found
    ends = [*starts[1:], len(values)]
    parts = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
    means = [float(np.average(values[part], weights=weights[part])) for part in parts]
    errors = [math.sqrt(factor / float(weights[part].sum())) for part in parts]
    count = len(values)
    # Where one change could have been, or where two could, which cut a piece out of the middle.
    places = count - 1 if len(parts) == 2 else count * (count - 1) // 2
    changes = []
    for place in range(1, len(parts)):
        shift = Location(means[place] - means[place - 1], math.hypot(*errors[place - 1 : place + 1]), freedom)
        p_value = min(1.0, 2 * shift.p_above(0.0) if shift.value > 0 else 2 * shift.p_below(0.0)) * places
        changes.append(Change(starts[place], _as_ratio(shift.interval(CONFIDENCE)), min(1.0, p_value)))
    levels = [
        _as_ratio(Location(mean, error, freedom).interval(CONFIDENCE))
        for mean, error, part in zip(means, errors, parts, strict=True)
        for _ in values[part]
    ]
    shown = tuple(Point(run, _as_ratio(low.interval(CONFIDENCE))) for run, low in points)
    return Line(case, era, shown, tuple(levels), tuple(changes))


def without_spikes(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The values, with those drawn in that stand out from the two before and the two after in the same direction.

    They are left `SPIKE` standard errors from the nearer side: a run that something else slowed is no lasting change.
    """
    if len(values) < 3:
        return values
    padded = np.concatenate(([np.nan, np.nan], values, [np.nan, np.nan]))
    before, after = (np.nanmean(np.stack(pair)[:, 1:-1], axis=0) for pair in _neighbours(padded))
    above = values[1:-1] - np.maximum(before, after)
    below = np.minimum(before, after) - values[1:-1]
    room = SPIKE / np.sqrt(weights[1:-1])
    drawn = values.copy()
    drawn[1:-1] += np.maximum(below - room, 0) - np.maximum(above - room, 0)
    return drawn


def _neighbours(padded: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The two values before and the two after each that was padded by two at both ends."""
    return (padded[:-4], padded[1:-3]), (padded[3:-1], padded[4:])


def segments(values: np.ndarray, weights: np.ndarray) -> list[int]:
    """The first places of the stretches of points that have one level each, by PELT; `[0]` where nothing changed."""
    penalty = PENALTY * math.log(len(values))
    if len(values) < 2 * FEWEST or _cost(values, weights, [0]) <= penalty:
        return [0]  # no change could gain what it costs
    import ruptures

    search = ruptures.Pelt(custom_cost=_weighted_cost(), min_size=FEWEST, jump=1)
    ends = search.fit(np.column_stack((values, weights))).predict(pen=penalty)
    return [0, *ends[:-1]]


def _weighted_cost() -> Any:
    """The weighted squared distance from a stretch's mean, for columns of values and weights, as ruptures wants it."""
    from ruptures.base import BaseCost

    class WeightedCost(BaseCost):  # type: ignore[misc] # ruptures has no types
        model = ""
        min_size = 1

        def fit(self, signal: np.ndarray) -> "WeightedCost":
            values, weights = signal.T
            values = values - values.mean()  # so that no digits are lost below
            self.signal = signal
            self._sums = np.vstack((np.zeros(3), np.cumsum([weights, weights * values, weights * values**2], axis=1).T))
            return self

        def error(self, start: int, end: int) -> float:
            weight, first, second = self._sums[end] - self._sums[start]
            return float(second - first**2 / weight)

    return WeightedCost()


def _cost(values: np.ndarray, weights: np.ndarray, starts: Sequence[int]) -> float:
    """The weighted squared distances of all points from the mean of their stretch."""
    parts = [slice(start, end) for start, end in zip(starts, [*starts[1:], len(values)], strict=True)]
    means = [np.average(values[part], weights=weights[part]) for part in parts]
    return float(sum((weights[part] * (values[part] - mean) ** 2).sum() for part, mean in zip(parts, means, strict=True)))


def _judged(lines: Sequence[Line]) -> list[Line]:
    """The lines with their changes decided, by Benjamini & Hochberg over all of them and the cases without any."""
    p_values = [change.p_value for line in lines for change in line.changes]
    if not p_values:
        return list(lines)
    quiet = [1.0 for line in lines if not line.changes]
    adjusted = iter(stats.false_discovery_control([*p_values, *quiet])[: len(p_values)])
    return [
        replace(
            line,
            changes=tuple(
                replace(change, is_significant=bool(next(adjusted) <= Q) and abs(change.ratio.value - 1) >= SMALLEST)
                for change in line.changes
            ),
        )
        for line in lines
    ]


def _as_ratio(log: Estimate) -> Estimate:
    return Estimate(math.exp(log.value), math.exp(log.low), math.exp(log.high))
