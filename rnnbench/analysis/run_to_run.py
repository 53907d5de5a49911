"""The variation between two runs of equal code, for example from the state of the machine or the layout of memory.

The replicates of a run do not show this variation. Its typical size is estimated from all cases of two runs: if the
code is equal, the changes of the cases scatter by their own errors and by the variation between runs. The scatter is
measured by Qn (Rousseeuw & Croux 1993, doi:10.1080/01621459.1993.10476408), the lower quartile of the distances between
all pairs of cases. Qn needs no centre, and stays useful if up to half of the cases have changed. A change that all
cases share can't be told from a change of the code.

Cases are unlike: some differ more from run to run than the typical case, and two runs do not show which. A large change
of an unlike case and a slowdown look the same. The errors therefore have few degrees of freedom (`MAX_FREEDOM`), so
that only changes far beyond the scatter of the typical case are called. `tests/validation/stored_simulated.py` measures
how often that is wrong, and which slowdowns are still found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.location import Location
from rnnbench.analysis.verdict import Evidence, Trial
from rnnbench.text import plural

MIN_CASES = 6  # for an estimate of the variation between runs
MAX_CASES = 500  # used for the estimate; the number of pairs grows with the square
QN_TO_SPREAD = 2.2219  # for a normal distribution
# Degrees of freedom of a change between two runs, at most. They stand for how unlike the cases are, which two runs do
# not show: fewer miss slowdowns of 20%, and more make false verdicts (`tests/validation/stored_simulated.py`).
MAX_FREEDOM = 4.0
TOO_FEW = (
    f"fewer than {MIN_CASES} cases have an interval in both runs, so the normal variation between runs is not known"
)


def look_at_runs(trials: Mapping[str, Trial], low: Mapping[str, Location], mean: Mapping[str, Location]) -> None:
    """Add the only look at two runs to each case's trial, with the variation between runs in the errors.

    `low`, `mean`: the change of each case between the runs. With too few cases nothing is known of any.
    """
    wider_low, wider_mean = with_run_to_run(low), with_run_to_run(mean)
    for case, trial in trials.items():
        if wider_low is None or wider_mean is None:
            trial.evidence[case] = Evidence()
        else:
            trial.look(case, wider_low[case], wider_mean[case])


def with_run_to_run(shifts: Mapping[str, Location]) -> dict[str, Location] | None:
    """Add the variance between runs to the error of each case's change between two runs.

    Returns None if fewer than `MIN_CASES` cases have an error of their own.
    """
    known = [shift for shift in shifts.values() if shift.freedom]
    if len(known) < MIN_CASES:
        return None
    own = float(np.median([shift.error**2 for shift in known]))
    variance = max(0.0, scatter(np.array([shift.value for shift in known])) ** 2 - own)
    wider = {case: shift.plus(variance) for case, shift in shifts.items()}
    return {case: replace(shift, freedom=min(shift.freedom, MAX_FREEDOM)) for case, shift in wider.items()}


def scatter(values: np.ndarray) -> float:
    """Estimate the standard deviation by Qn, from at least two values."""
    values = values[:: math.ceil(len(values) / MAX_CASES)]
    n = len(values)
    half = n // 2 + 1
    distances = np.abs(np.subtract.outer(values, values))[np.triu_indices(n, 1)]
    small = n / (n + 1.4) if n % 2 else n / (n + 3.8)  # for few values, from the same paper
    return small * QN_TO_SPREAD * float(np.partition(distances, math.comb(half, 2) - 1)[math.comb(half, 2) - 1])


MAX_TIMES = 25.0  # as many replicates; a case that would take more lies so near the margin that they do not help
IN_TURNS = "`rnnbench check --base` measures both sides in turns"


def more_replicates(findings: Sequence[Finding], low: Mapping[str, Location], mean: Mapping[str, Location]) -> str:
    """What would decide the undecided cases; `low` and `mean` are the changes, without the variation between runs.

    More replicates make the error of a change smaller, but not the variation between runs.
    """
    widened = {False: (low, with_run_to_run(low)), True: (mean, with_run_to_run(mean))}
    replicates = []
    for finding in findings:
        own, wider = widened[finding.is_by_mean]
        if finding.verdict == "undecided" and wider is not None and finding.case.key in wider:
            times = times_as_many(finding, 1 - (own[finding.case.key].error / wider[finding.case.key].error) ** 2)
            replicates.append(times * finding.replicates if times <= MAX_TIMES else math.inf)
    enough = [number for number in replicates if math.isfinite(number)]
    if enough:
        which = f"{len(enough):,} of {plural(len(replicates), 'undecided case')}"
        return f"about {math.ceil(max(enough)):,} replicates in both runs would be enough for {which}"
    if replicates:
        return f"more replicates would not help the {plural(len(replicates), 'undecided case')}: {IN_TURNS}"
    return ""


def times_as_many(finding: Finding, fixed: float = 0.0) -> float:
    """How many times the replicates an undecided case takes until its interval lies on one side of the margin.

    An interval gets narrower with the square root of the number of replicates, but for the share `fixed` of its
    variance. Infinite if the case has no interval, or if that share alone makes it too wide; at least 1.
    """
    estimate = finding.deciding
    if estimate is None or not finding.has_interval or estimate.lower <= 0:
        return math.inf
    centre = math.log(estimate.value)
    half = max(math.log(estimate.upper) - centre, centre - math.log(estimate.lower))
    distance = abs(abs(centre) - math.log1p(finding.margin))
    left = (distance / half) ** 2 - fixed if half else math.inf
    return max(1.0, (1 - fixed) / left) if left > 0 else math.inf
