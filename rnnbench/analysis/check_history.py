"""The checks of a suite over time: a line for each case, from the base of the first check to the head of the newest.

A check measures the change of each case from its base to its head. Checks of which each begins at the commit where the
one before ended form a chain, and the changes of a case multiply along it. The verdict of a single step is that of its
check. What no single check can see is a creep: changes that are each within the margin and add up. It is looked for in
all stretches of three steps or more of a line, without the steps that have a verdict of their own. The p-value of the
stretch that stands out most is multiplied by the number of stretches (Bonferroni), and over all cases Benjamini and
Hochberg decide, at `verdict.Q`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.analysis.estimate import BETWEEN_RUNS
from rnnbench.analysis.verdict import CHANGED, ONE_LOOK_CONFIDENCE, Q

MIN_CREEP_STEPS = 3
CHANGE_WITH_ENDS = ["change", "change_low", "change_high"]
LEVEL_COLUMNS = ["level", "level_low", "level_high"]
CREEP = ["creep", "creep_low", "creep_high"]
DRIFT = ["drift", "drift_low", "drift_high"]
HALF_INTERVAL = float(stats.norm.ppf((1 + ONE_LOOK_CONFIDENCE) / 2))  # in standard errors


@dataclass(frozen=True)
class CheckHistory:
    """The lines of all cases over a chain of checks."""

    # A row for each check of the chain, in its order: `check` (its folder), `checked` (when), `base_commit` and
    # `head_commit`.
    checks: pd.DataFrame
    # A row for each case and check of the chain: `case`, `step` (the number of the check), `verdict`, `change` with its
    # ends, `is_known` (False: no change was measured, and it counts as none), and LEVEL_COLUMNS, the time over that
    # at the beginning of the line with its 95% interval.
    points: pd.DataFrame
    # A row for each case: its last LEVEL_COLUMNS; `lasting`, what the steps with a verdict and the creep make of it,
    # without the noise of all others; `unknown` steps; CREEP, the change over the stretch from the step `creep_start`
    # to `creep_end` if there is one, else NaN; DRIFT, the change in the newest check against the baseline.
    cases: pd.DataFrame
    baseline: str | None  # the commit with which checks outside of the chain compare commits of the chain


class Stretch(NamedTuple):
    """A stretch of a line that stands out by its `score`, in standard errors; the higher one is the larger."""

    score: float = 0.0
    start: float = math.nan  # its first step
    end: float = math.nan
    log: float = math.nan  # of the change over it
    error: float = math.nan


def check_history(rows: pd.DataFrame) -> CheckHistory:
    """Return the lines of all cases.

    `rows`: a row for each check and case, the oldest check first, with the columns `place` (the number of the check),
    `check`, `checked`, `base_commit`, `head_commit`, `case`, `verdict`, `decided_by`, `margin`, and `change` with its
    ends.
    """
    checks = rows.groupby("place", sort=True)[["check", "checked", "base_commit", "head_commit"]].first()
    chained = longest_chain(list(checks[["base_commit", "head_commit"]].itertuples(index=False, name=None)))
    steps = {checks.index[place]: step for step, place in enumerate(chained)}
    points = rows[rows["place"].isin(steps)].assign(step=lambda frame: frame["place"].map(steps))
    points = with_levels(points.sort_values(["case", "step"], kind="stable", ignore_index=True))
    baseline, drifts = drift(rows[~rows["place"].isin(steps)], checks.iloc[chained])
    cases = points.groupby("case").agg(
        margin=("margin", "max"), unknown=("is_known", lambda flags: int((~flags).sum())), **_lasts(LEVEL_COLUMNS)
    )
    cases = cases.join(creeps(points, cases["margin"])).join(drifts)
    called = points["log"].where(points["verdict"].isin(CHANGED), 0.0).groupby(points["case"]).sum()
    cases["lasting"] = np.exp(called) * cases["creep"].fillna(1.0)
    return CheckHistory(checks.iloc[chained].reset_index(drop=True), points, cases.reset_index(), baseline)


def _lasts(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    return {name: (name, "last") for name in names}


def longest_chain(checks: Sequence[tuple[str | None, str | None]]) -> list[int]:
    """Return the indices of the longest chain of checks, each of which has the last one's head as its base.

    `checks`: the commits of base and head of each check, the oldest check first; None: unknown, or a working tree with
    changes. Of several chains of equal length, the one that ends last.
    """
    chain_of: list[list[int]] = []
    newest: dict[str, int] = {}  # the check that ends the longest chain to a commit
    for number, (base, head) in enumerate(checks):
        before = chain_of[newest[base]] if base in newest and base != head else []
        chain_of.append([*before, number])
        if head is not None and (head not in newest or len(chain_of[number]) >= len(chain_of[newest[head]])):
            newest[head] = number
    return max(reversed(chain_of), key=len, default=[])


def with_levels(points: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `log`, `variance`, `is_known` and LEVEL_COLUMNS to the points, ordered by case and step."""
    logs = {name: points[name].map(math.log, na_action="ignore") for name in CHANGE_WITH_ENDS}
    error = (logs["change_high"] - logs["change_low"]) / (2 * HALF_INTERVAL)
    is_same = points["decided_by"].eq("code")
    is_measured = error.notna() & ~is_same
    points = points.assign(
        log=logs["change"].where(is_measured, 0.0),
        variance=error.pow(2).add(BETWEEN_RUNS**2).where(is_measured, 0.0),
        is_known=is_measured | is_same,
    )
    sums = points.groupby("case")[["log", "variance"]].cumsum()
    half = HALF_INTERVAL * np.sqrt(sums["variance"])
    ends = np.stack([sums["log"], sums["log"] - half, sums["log"] + half], axis=1)
    return points.assign(**dict(zip(LEVEL_COLUMNS, np.exp(ends).T, strict=True)))


def creeps(points: pd.DataFrame, margins: "pd.Series[float]") -> pd.DataFrame:
    """Return the creep of each case: `creep_start`, `creep_end` and CREEP, indexed by the case; NaN without one."""
    stretches = pd.DataFrame({case: _stretch(line) for case, line in points.groupby("case")}).T.rename_axis("case")
    adjusted = stats.false_discovery_control(stretches["p_value"])
    is_beyond = np.abs(np.log(stretches["creep"])) > np.log1p(margins.reindex(stretches.index))
    is_creep = (adjusted <= Q) & is_beyond
    return stretches.drop(columns="p_value").where(is_creep)


def _stretch(line: pd.DataFrame) -> dict[str, float]:
    """Return the stretch of a line that stands out most, and its p-value among all stretches.

    A stretch is judged without the step that is largest in its direction: a single outlier is no creep. It does not go
    on over a step of which nothing is known.
    """
    is_counted = (line["variance"].gt(0) & ~line["verdict"].isin(CHANGED)).to_numpy()
    pieces = (~line["is_known"].to_numpy()).cumsum()
    best = Stretch()
    tried = 0
    for piece in np.unique(pieces[is_counted]):
        is_of_piece = is_counted & (pieces == piece)
        steps = line["step"].to_numpy()[is_of_piece]
        logs = line["log"].to_numpy()[is_of_piece]
        variances = line["variance"].to_numpy()[is_of_piece]
        for first in range(len(steps) - MIN_CREEP_STEPS + 1):
            size = logs[first:].cumsum()
            variance = variances[first:].cumsum()
            upward = np.maximum.accumulate(logs[first:])
            downward = np.minimum.accumulate(logs[first:])
            rest = np.maximum(size - upward, downward - size)  # in its direction, without its largest step
            scores = (rest / np.sqrt(variance))[MIN_CREEP_STEPS - 1 :]
            end = int(np.argmax(scores)) + MIN_CREEP_STEPS - 1
            tried += len(scores)
            stretch = Stretch(
                float(scores.max()), steps[first], steps[first + end], size[end], math.sqrt(variance[end])
            )
            best = max(best, stretch)
    half = HALF_INTERVAL * best.error
    ends = np.exp([best.log, best.log - half, best.log + half])
    p_value = min(1.0, 2 * float(stats.norm.sf(best.score)) * max(1, tried))
    places = {"creep_start": best.start, "creep_end": best.end}
    return {"p_value": p_value, **places, **dict(zip(CREEP, ends, strict=True))}


def drift(others: pd.DataFrame, chain: pd.DataFrame) -> tuple[str | None, pd.DataFrame]:
    """Return the commit that is the baseline, and DRIFT of each case in the newest check against it.

    `others`: the rows of the checks outside of the `chain`. A baseline is a base of which two of them or more compare
    commits of the chain.
    """
    rows = others[others["head_commit"].isin(set(chain["head_commit"]))]
    numbers = rows.groupby("base_commit")["place"].nunique()
    if not (numbers >= 2).any():
        return None, pd.DataFrame(columns=DRIFT, dtype=float)
    newest = rows[rows["base_commit"].isin(numbers.index[numbers >= 2])]
    newest = newest[newest["place"] == newest["place"].max()]
    names = dict(zip(CHANGE_WITH_ENDS, DRIFT, strict=True))
    return str(newest["base_commit"].iloc[0]), newest.set_index("case").rename(columns=names)[DRIFT]
