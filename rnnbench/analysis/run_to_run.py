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
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rnnbench.analysis.location import Location
from rnnbench.analysis.verdict import Evidence, Trial

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
