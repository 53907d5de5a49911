"""Two stored runs against each other, by each case's ratio to the torch.nn layer of the same group and run.

Absolute times of another day or machine mean little; a ratio within a run shares that run's noise.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.comparison import Comparison, Finding, finding, newly_suspect, one_sided, ordered
from rnnbench.analysis.environments import differences
from rnnbench.analysis.estimate import Estimate, estimates, from_logs
from rnnbench.analysis.location import Location, shift
from rnnbench.analysis.run_to_run import TOO_FEW, look_at_runs, more_replicates
from rnnbench.analysis.runs.lost_windows import noted_of_runs
from rnnbench.analysis.runs.run_times import read_whole
from rnnbench.analysis.runs.summary import reference_ratios
from rnnbench.analysis.verdict import Judged, Trial, located
from rnnbench.errors import UserError
from rnnbench.store.folder import is_check
from rnnbench.store.records import Case, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.text import writable

# Case key -> the location of its log-ratio for the typical call, and for the mean.
LocatedRatios = Mapping[str, tuple[Location, Location]]


@dataclass(frozen=True)
class StoredRun:
    """What is needed of a run to compare it with another; the windows themselves are not kept."""

    name: str
    info: RunInfo
    measurements: Mapping[str, Measurement]  # case key -> its last line
    ratios: pd.DataFrame  # `case`, `log_ratio` and `log_mean_ratio` to the reference, a row for each replicate

    @property
    def replicates(self) -> dict[str, int]:
        """The number of replicates that each case's ratio comes from, by the case's key."""
        return {str(case): int(count) for case, count in self.ratios["case"].value_counts(sort=False).items() if count}


def read(path: Path) -> StoredRun:
    """Read a run folder; raises UserError if it is not one, or can't be read."""
    info, measurements, times = read_whole(path)
    ratios = reference_ratios(times.replicates)[["case", "log_ratio", "log_mean_ratio"]]
    resolved = path.resolve()
    name = f"{resolved.parent.name}/{resolved.name}" if is_check(resolved.parent) else resolved.name
    return StoredRun(writable(name), info, measurements, ratios)


def common_cases(base: Mapping[str, Any], head: Mapping[str, Case]) -> list[Case]:
    """The cases of the head that the base has too, without references; raises UserError if there are none."""
    cases = [case for key, case in head.items() if key in base and not case.is_reference]
    if not cases:
        raise UserError("the two runs have no case in common; `rnnbench list cases SUITE` shows a suite's")
    return cases


def compare(base: StoredRun, head: StoredRun, margins: Mapping[str, float]) -> Comparison:
    """One finding for each case, with one look at all the data; `margins` by case key.

    Raises UserError if no case is in both runs.
    """
    cases = {key: measurement.case for key, measurement in head.measurements.items()}
    common = common_cases(base.measurements, cases)
    apart = differences(base.info, head.info)
    needed = ""
    if apart:
        findings = [Finding(case, "incomparable", margins[case.key], "; ".join(apart)) for case in common]
    else:
        findings, needed = _findings(base, head, common, margins)
    findings += one_sided(_own(base, without=head), "in the base") + one_sided(_own(head, without=base), "in the head")
    suspect = newly_suspect((base.measurements[case.key], head.measurements[case.key]) for case in common)
    notes = (*suspect, *noted_of_runs((side.name, side.info) for side in (base, head)))
    return Comparison(
        head.info.suite, f"run {base.name}", f"run {head.name}", "stored", ordered(findings), notes, needed
    )


def _findings(
    base: StoredRun, head: StoredRun, cases: list[Case], margins: Mapping[str, float]
) -> tuple[list[Finding], str]:
    """The findings, and how many replicates would be enough for those that are undecided."""
    shifts = shifts_between(located_ratios(base), located_ratios(head), [case.key for case in cases])
    judged = judged_shifts(*shifts, margins)
    counts = base.replicates, head.replicates
    findings = []
    for case in cases:
        result = finding(
            base.measurements[case.key],
            head.measurements[case.key],
            judged.get(case.key),
            margins[case.key],
            min(side.get(case.key, 0) for side in counts),
            "not timed beside torch.nn in both runs",
        )
        if result.verdict == "undecided" and not result.reason:
            result = replace(result, reason="" if result.has_interval else TOO_FEW)
        findings.append(result)
    return findings, more_replicates(findings, *shifts)


def shifts_between(
    base: LocatedRatios, head: LocatedRatios, cases: Iterable[str]
) -> tuple[dict[str, Location], dict[str, Location]]:
    """The changes of the cases that have a ratio in both runs, for the typical call and for the mean."""
    keys = [key for key in cases if key in base and key in head]
    low, mean = ({key: shift(base[key][ratio], head[key][ratio]) for key in keys} for ratio in (0, 1))
    return low, mean


def judged_shifts(
    low: Mapping[str, Location], mean: Mapping[str, Location], margins: Mapping[str, float]
) -> dict[str, Judged]:
    """Judge changes between two runs; `margins` by case key.

    The variation between runs is part of the errors. With too few cases to estimate it, the ratios have no intervals
    and every verdict is `undecided`.
    """
    trial = Trial(margins)
    look_at_runs(dict.fromkeys(low, trial), low, mean)
    return trial.verdicts()


def located_ratios(run: StoredRun) -> LocatedRatios:
    """The location of each case's log-ratios to its reference, for the typical call and for the mean."""
    if run.ratios.empty:  # np.split would still return one part
        return {}
    number, cases = pd.factorize(run.ratios["case"])
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=len(cases)))[:-1]
    low, mean = (
        located(dict(zip(map(str, cases), np.split(run.ratios[column].to_numpy()[order], ends), strict=True)))
        for column in ("log_ratio", "log_mean_ratio")
    )
    return {case: (low[case], mean[case]) for case in low}


def estimated_ratios(run: StoredRun) -> dict[str, Estimate]:
    """Each case's ratio to its reference, with its 95% interval, as a report shows it."""
    if run.ratios.empty:
        return {}
    number, cases = pd.factorize(run.ratios["case"])
    bounds = from_logs(estimates(number, run.ratios["log_ratio"].to_numpy()))
    return {str(case): Estimate(*map(float, ratio)) for case, ratio in zip(cases, bounds, strict=True)}


def _own(run: StoredRun, *, without: StoredRun) -> list[Case]:
    """The hand-written cases that the other run lacks."""
    return [
        measurement.case
        for key, measurement in run.measurements.items()
        if key not in without.measurements and not measurement.case.is_reference
    ]
