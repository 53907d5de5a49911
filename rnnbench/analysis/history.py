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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage, special, stats

from rnnbench.analysis.environments import differences
from rnnbench.analysis.estimate import ENDS, from_logs
from rnnbench.analysis.stored import StoredRun, case_ratios
from rnnbench.analysis.variances import raised, t_quantiles
from rnnbench.analysis.verdict import ONE_LOOK_CONFIDENCE, Q
from rnnbench.store.records import Case
from rnnbench.store.run_info import RunInfo

MIN_CHANGE = 0.01  # nobody acts on a smaller change
PENALTY = 3.0  # times log n: what a change must gain in squared standard errors
MIN_LEVEL_POINTS = 2  # points of a level; a single one may be a run that something else slowed
LOWER_SHARE = 0.6  # of squared differences, whose mean a few real changes don't move
LOWER_SHARE_OF_VARIANCE = 0.2146  # what that mean is of the variance, for a normal distribution
# Points of the longest line for each run between the points of a pair: few pairs that close have a step between them.
POINTS_OVER_LAG = 5
MAX_RUN_CORRELATION = 0.9  # of neighbouring runs
# What is assumed of the correlation, and the number of differences that this counts for: few say little of it, and
# false changes follow if it is taken as too small.
ASSUMED_RUN_CORRELATION = 0.6
ASSUMED_DIFFERENCES = 100
LEVEL = [f"level{end}" for end in ENDS]


@dataclass(frozen=True)
class History:
    """Runs in the order in which they were started, and the line of every case in each environment."""

    runs: tuple[tuple[str, RunInfo], ...]
    cases: Mapping[str, Case]  # by their keys
    # A row for each environment, by its number from 1: the index `first` of its first run, how many `runs` it has, its
    # `differences` from the first environment, and the standard deviation `spread` of a run from the one before it.
    environments: pd.DataFrame
    # A row for each run `at` of each `line`, of a `case` in an `environment`, by their numbers: `RATIO`, with the
    # interval of that run alone, and `LEVEL`, whose interval includes the scatter from run to run.
    points: pd.DataFrame
    # A row for each change of a line, between the runs `before` and `after`: the new level over the old as `ratio`,
    # `low` and `high`, its `p_value`, and `is_significant`.
    changes: pd.DataFrame


def history(runs: Sequence[StoredRun]) -> History:
    """Return the lines of all cases that have a reference in two runs of one environment or more."""
    ordered = sorted(runs, key=lambda run: (run.info.started, run.name))
    firsts: list[int] = []  # the first run of each environment
    numbers = []  # of the environment of each run
    parts = []  # the ratios of each run
    for at, run in enumerate(ordered):
        same = (number for number, first in enumerate(firsts, 1) if not differences(ordered[first].info, run.info))
        numbers.append(next(same, len(firsts) + 1))
        if numbers[-1] > len(firsts):
            firsts.append(at)
        parts.append(case_ratios(run).assign(environment=numbers[-1], at=at))
    points = pd.concat(parts).rename_axis("case").reset_index().sort_values("environment", kind="stable")
    are_undisturbed = points.groupby("case")["is_undisturbed"].transform("all")  # never one of each on a line
    located = points["quiet"].where(are_undisturbed, points["shift"])
    points["log"] = [low.value for low in located]
    points["own_variance"] = [low.error**2 if low.freedom else 0.0 for low in located]  # 0: a single replicate
    points = points[points.groupby(["environment", "case"])["at"].transform("size") > 1]
    points["line"] = points.groupby(["environment", "case"], sort=False).ngroup()
    scatters = {number: run_scatter(of_runs) for number, of_runs in points.groupby("environment")}
    points = cut_lines(points.sort_values("line", kind="stable").reset_index(drop=True), scatters)
    changes = judged_changes(points)
    starts = points.index.isin(changes.index[changes["is_significant"]])
    points = points.assign(piece=pd.Series(starts, points.index).groupby(points["line"]).cumsum())
    level, weight = levels(points)
    points[LEVEL] = ratios(level, np.sqrt(points["factor"] / weight), points["freedom"])
    of_environments = {
        "first": firsts,
        "differences": ["; ".join(differences(ordered[0].info, ordered[first].info)) for first in firsts],
        "runs": [numbers.count(number) for number in range(1, len(firsts) + 1)],
    }
    environments = pd.DataFrame(of_environments, index=range(1, len(firsts) + 1))
    # The variance of the difference of neighbouring runs is known whatever their correlation is.
    spread = {number: math.sqrt(2 * variance * (1 - shared)) for number, (variance, shared) in scatters.items()}
    environments["spread"] = environments.index.map(spread)
    infos = tuple((run.name, run.info) for run in ordered)
    measurements = chain(*(run.measurements.items() for run in ordered))
    cases = {key: measurement.case for key, measurement in measurements}
    return History(infos, cases, environments, points, changes)


def cut_lines(points: pd.DataFrame, scatters: Mapping[Any, tuple[float, float]]) -> pd.DataFrame:
    """Cut every line into levels; `scatters`: the `run_scatter` of each environment.

    Adds the columns `weight`, the inverse variance of the point; `piece`, the number of its level; and of its line
    `factor`, the points' variances over those that the weights imply, and the `freedom` of that factor.
    """
    # The variance of independent runs whose mean would be as uncertain as that of these correlated runs.
    lasting = {number: variance * (1 + shared) / (1 - shared) for number, (variance, shared) in scatters.items()}
    variance = points["own_variance"] + points["environment"].map(lasting).astype(float)
    variance = variance.clip(lower=1e-12)  # never surer than that
    scaled = points["log"] / np.sqrt(variance.groupby(points["line"]).transform("median"))
    pieces = scaled.groupby(points["line"]).transform(pieces_of)
    points = points.assign(weight=1 / variance, piece=pieces.astype(int))
    points["cost"] = points["weight"] * (points["log"] - levels(points)[0]) ** 2
    lines = points.groupby("line").agg(
        environment=("environment", "first"), cost=("cost", "sum"), runs=("at", "size"), levels=("piece", "nunique")
    )
    lines["freedom"] = (lines["runs"] - lines["levels"]).astype(float)
    lines["factor"] = lines["cost"] / lines["freedom"]
    # 1 if a line's points scatter as the errors say. What differs from run to run is in the points' variances already,
    # so lines may gain from all others.
    for _, lines_alike in lines.groupby("environment"):
        factor, freedom = raised(lines_alike["factor"].to_numpy(), lines_alike["freedom"].to_numpy(), max_gain=math.inf)
        lines.loc[lines_alike.index, "factor"] = factor.clip(min=1.0)
        lines.loc[lines_alike.index, "freedom"] = freedom
    return points.join(lines[["factor", "freedom"]], on="line")


def pieces_of(values: "pd.Series[float]") -> np.ndarray:
    """Return the number of the level of each point, from values in standard errors; all 0 if nothing changed.

    A running median of three leaves out a single run that something else slowed, and moves no step.
    """
    smooth = ndimage.median_filter(values.to_numpy(), 3)
    scaled = smooth - smooth.mean()
    penalty = PENALTY * math.log(len(values))
    if len(values) < 2 * MIN_LEVEL_POINTS or float(scaled @ scaled) <= penalty:
        return np.zeros(len(values))  # no change could gain what it costs
    import ruptures

    search = ruptures.Pelt(model="l2", min_size=MIN_LEVEL_POINTS, jump=1)
    ends = search.fit(scaled).predict(pen=penalty)
    return np.searchsorted(ends, np.arange(len(values)), side="right")


def levels(points: pd.DataFrame) -> "tuple[pd.Series[float], pd.Series[float]]":
    """Return the level that each point is in, and the weight of all points in it."""
    by = [points["line"], points["piece"]]
    weight = points["weight"].groupby(by).transform("sum")
    return (points["log"] * points["weight"]).groupby(by).transform("sum") / weight, weight


def ratios(logs: "pd.Series[float]", errors: "pd.Series[float]", freedom: "pd.Series[float]") -> np.ndarray:
    """Return ratios with the ends of their intervals: (n, 3)."""
    half = errors * t_quantiles((1 + ONE_LOOK_CONFIDENCE) / 2, freedom.to_numpy())
    return from_logs(np.stack([logs, logs - half, logs + half], axis=1))


def judged_changes(points: pd.DataFrame) -> pd.DataFrame:
    """Return the changes between neighbouring levels, each at the index of the first point with the new level.

    Benjamini & Hochberg decide over all of them and the lines without any.
    """
    level, weight = levels(points)
    variance = points["factor"] / weight
    points = points.assign(before=points["at"].shift(), shift=level.diff(), error=np.sqrt(variance + variance.shift()))
    changes = points[points["piece"].gt(0) & points["piece"].ne(points["piece"].shift())]
    lines = points.groupby("line").agg(runs=("at", "size"), last=("piece", "max"))
    # For one change, or for two changes that cut a piece out of the middle.
    places = np.where(lines["last"] == 1, lines["runs"] - 1, special.comb(lines["runs"], 2))
    tails = special.stdtr(changes["freedom"], -changes["shift"].abs() / changes["error"])
    p_values = np.minimum(2 * tails * places[changes["line"]], 1.0)
    adjusted = stats.false_discovery_control([*p_values, *np.ones((lines["last"] == 0).sum())])[: len(p_values)]
    changes = changes.rename(columns={"at": "after"}).astype({"before": int})
    changes[["ratio", "low", "high"]] = ratios(changes["shift"], changes["error"], changes["freedom"])
    is_significant = (np.array(adjusted) <= Q) & (changes["ratio"] - 1).abs().ge(MIN_CHANGE)
    return changes.assign(p_value=p_values, is_significant=is_significant)


def run_scatter(points: pd.DataFrame) -> tuple[float, float]:
    """Estimate how a case's points differ from run to run beyond their own errors: the variance, and the correlation.

    The correlation is that of neighbouring runs. Of a bias with variance v and correlation r, differences of runs that
    are k apart have the variance 2 v (1 - r^k): the r is taken that explains best how differences grow with the
    distance of the runs.
    """
    by_line = points.groupby("line")
    sizes = by_line.size()
    lags = np.arange(1, max(2, sizes.max() // POINTS_OVER_LAG) + 1)
    variances = []
    for lag in lags.tolist():
        before = by_line[["log", "own_variance"]].shift(lag)
        squares = np.sort((points["log"] - before["log"]).dropna() ** 2)
        whole = (
            squares[: math.ceil(LOWER_SHARE * len(squares))].mean() / LOWER_SHARE_OF_VARIANCE if len(squares) else 0.0
        )
        error_variance = (points["own_variance"] + before["own_variance"]).median() if len(squares) else 0.0
        variances.append(max(0.0, float(whole - error_variance)))
    if not variances[0]:
        return 0.0, 0.0
    tried = np.linspace(0, MAX_RUN_CORRELATION, 91)
    apart = np.log(np.maximum(variances, variances[0])) - np.log1p(-(tried[:, None] ** lags))
    best = float(tried[apart.var(axis=1).argmin()])
    differences = int((sizes - 2).clip(lower=0).sum())
    assumed = ASSUMED_DIFFERENCES * ASSUMED_RUN_CORRELATION
    correlation = (differences * best + assumed) / (differences + ASSUMED_DIFFERENCES)
    return variances[0] / 2 / (1 - correlation), correlation
