"""The ratios of many runs over time: where a case's ratio changed permanently, and how sure that is.

Each run gives a case one point, its log-ratio to the reference with a standard error. Points of unchanged code scatter
by more than that error: each run has a bias of its own, which the next run may share (`run_scatter.py`). The variance
of each point includes the one that such a bias leaves in the mean of many runs, so that slow random variation does not
count as a change.

`change_points` searches for changes. If a straight line over all runs fits as well as the steps that are found, the
case drifts: no run is named. Each change is then tested: the two neighbouring levels, or the slope, by Student's t,
with the scatter of the case's points drawn towards that of all cases. The p of a step is multiplied by the number of
places where it could have been found (Bonferroni), and over all cases Benjamini & Hochberg decide, at `verdict.Q`. The
search chose the places from the same points, so Q is not a proven bound: `tests/validation/history_simulated.py` shows
the error rates.

Runs in different environments are never on one line: another machine or another torch is not a change of the code.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import stats

from rnnbench.analysis.environments.differences import differences, processor
from rnnbench.analysis.estimate import Estimate, as_ratio
from rnnbench.analysis.history.change_points import WeightedPoints, drifts, segments, without_spikes
from rnnbench.analysis.history.run_scatter import RunScatter, own_variance, run_scatter
from rnnbench.analysis.location import Location
from rnnbench.analysis.stored import StoredRun, estimated_ratios, located_ratios
from rnnbench.analysis.variances import raised
from rnnbench.analysis.verdict import CONFIDENCE, Q
from rnnbench.store.records import Case
from rnnbench.store.run_info import RunInfo

MIN_CHANGE = 0.01  # nobody acts on a smaller change


@dataclass(frozen=True)
class Point:
    """One run on a case's line: its ratio to the reference, with the 95% interval of that run alone."""

    run: int  # its index among the runs of the history
    ratio: Estimate


@dataclass(frozen=True)
class LevelChange:
    """A lasting change of a case's ratio, between two neighbouring points of its line or gradually over all of them."""

    after: int  # the index in the line of the first point with the new level; the last index if it is gradual
    ratio: Estimate  # the new level over the old: 1.05 is 5% slower against the reference
    p_value: float  # of no change at all, corrected for the places where it could have been
    is_significant: bool = False
    is_gradual: bool = False  # a drift from the first point to the last, which no single run explains


@dataclass(frozen=True)
class CaseHistory:
    """A case over the runs of one environment."""

    case: Case
    era: int
    points: tuple[Point, ...]
    levels: tuple[Estimate, ...]  # at each point: of its stretch, or of the drift; run-to-run scatter included
    changes: tuple[LevelChange, ...]

    @property
    def significant(self) -> tuple[LevelChange, ...]:
        """The changes that pass the test, and are not too small to matter."""
        return tuple(change for change in self.changes if change.is_significant)


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


def history(runs: Sequence[StoredRun]) -> History:
    """The lines of all cases that have a reference in two runs of one environment or more.

    Runs by an older rnnbench, which did not record the machine's identity, are left out and counted.
    """
    known = [run for run in runs if processor(run.info) is not None]
    ordered = sorted(known, key=lambda run: (run.info.started, run.name))
    located, estimated = [located_ratios(run) for run in ordered], [estimated_ratios(run) for run in ordered]
    cases = {key: measurement.case for run in ordered for key, measurement in run.measurements.items()}
    eras: list[Era] = []
    lines: list[tuple[int, Case, Sequence[tuple[int, Location]], WeightedPoints]] = []
    for number, indices in enumerate(_alike([run.info for run in ordered])):
        logs: dict[str, list[tuple[int, Location]]] = {}
        for index in indices:
            for key, (low, _) in located[index].items():
                logs.setdefault(key, []).append((index, low))
        kept = {key: points for key, points in logs.items() if not cases[key].is_reference and len(points) > 1}
        scatter = run_scatter([[low for _, low in points] for points in kept.values()])
        apart = differences(ordered[0].info, ordered[indices[0]].info)
        eras.append(Era(tuple(indices), scatter, tuple(apart)))
        fits = _fits(kept, scatter.lasting_variance)
        lines += [(number, cases[key], points, fit) for (key, points), fit in zip(kept.items(), fits, strict=True)]
    judged = _judged([_changes(fit) for *_, fit in lines])
    return History(
        tuple((run.name, run.info) for run in ordered),
        tuple(eras),
        tuple(_line(*line, changes, estimated) for line, changes in zip(lines, judged, strict=True)),
        len(runs) - len(known),
    )


def _line(
    era: int,
    case: Case,
    points: Sequence[tuple[int, Location]],
    fit: WeightedPoints,
    changes: tuple[LevelChange, ...],
    estimated: Sequence[Mapping[str, Estimate]],
) -> CaseHistory:
    """A case's line; each level lasts from one significant change to the next."""
    significant = [change for change in changes if change.is_significant]
    starts = [0, *(change.after for change in significant if not change.is_gradual)]
    levels = replace(fit, starts=starts, is_drift=any(change.is_gradual for change in significant)).level_of_points()
    return CaseHistory(case, era, tuple(Point(run, estimated[run][case.key]) for run, _ in points), levels, changes)


def _alike(infos: Sequence[RunInfo]) -> list[list[int]]:
    """Group the indices of runs by their environment."""
    eras: list[list[int]] = []
    for index, info in enumerate(infos):
        same = next((indices for indices in eras if not differences(infos[indices[0]], info)), None)
        if same is None:
            eras.append([index])
        else:
            same.append(index)
    return eras


def _fits(logs: Mapping[str, Sequence[tuple[int, Location]]], run_variance: float) -> list[WeightedPoints]:
    """Every case's points in the stretches that the search finds."""
    fits, scatter = [], []
    for points in logs.values():
        values = np.array([low.value for _, low in points])
        variances = np.array([own_variance(low) for _, low in points]) + run_variance
        weights = 1 / np.maximum(variances, 1e-12)  # a ratio is never known to a millionth
        drawn = without_spikes(values, weights)
        starts = segments(drawn, weights)
        is_drift = drifts(drawn, weights, starts)
        fit = WeightedPoints(drawn, weights, [0] if is_drift else starts, is_drift=is_drift)
        scatter.append(fit.cost_of(values))  # spikes included
        fits.append(fit)
    freedom = np.array([len(fit.values) - len(fit.starts) - fit.is_drift for fit in fits], dtype=float)
    # 1 if a line's points scatter as the errors say. What differs from run to run is in the points' variances already,
    # so lines may gain from all others.
    factors, freedoms = raised(np.array(scatter) / freedom, freedom, max_gain=math.inf)
    return [
        replace(fit, factor=max(1.0, factor), freedom=free)
        for fit, factor, free in zip(fits, factors.tolist(), freedoms.tolist(), strict=True)
    ]


def _changes(fit: WeightedPoints) -> list[LevelChange]:
    """The changes between neighbouring stretches, or the drift, each tested by itself."""
    count = len(fit.values)
    if fit.is_drift:
        return [_change(fit.drift(), count - 1, 1, is_gradual=True)]
    # For one change, or for two changes that cut a piece out of the middle.
    possible_places = count - 1 if len(fit.starts) == 2 else math.comb(count, 2)
    changes = []
    for start, (before, after) in zip(fit.starts[1:], pairwise(fit.levels()), strict=True):
        shift = Location(after.value - before.value, math.hypot(before.error, after.error), fit.freedom)
        changes.append(_change(shift, start, possible_places))
    return changes


def _change(shift: Location, after: int, possible_places: int, *, is_gradual: bool = False) -> LevelChange:
    p_value = 2 * min(shift.p_above(0.0), shift.p_below(0.0)) * possible_places
    ratio = as_ratio(shift.interval(CONFIDENCE))
    return LevelChange(after, ratio, min(1.0, p_value), is_gradual=is_gradual)


def _judged(changes: Sequence[Sequence[LevelChange]]) -> list[tuple[LevelChange, ...]]:
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
