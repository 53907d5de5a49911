"""What differs from run to run, and that no run's own spread shows: the state of the machine, the layout of memory.

Two runs show it in what their cases have in common: if nothing changed, the shifts of the cases scatter by their own
errors, and by what differs between the two runs. The scatter is measured by Rousseeuw & Croux's Qn (1993,
doi:10.1080/01621459.1993.10476408), the lower quartile of the distances of all pairs of cases: it needs no centre, and
keeps its meaning while up to half of the cases have changed. What all cases share can't be seen in two runs.
"""

import math
from collections.abc import Mapping

import numpy as np

from rnnbench.analysis.location import Location

MIN_CASES = 6  # with fewer, their scatter says too little
MAX_CASES = 500  # of more, this many tell enough
QN_TO_SPREAD = 2.2219  # of a normal distribution
FREEDOM = 0.5  # degrees of freedom of Qn's square for each case, by simulation: 2.4 for 6 cases, 15 for 24
TOO_FEW = (
    f"fewer than {MIN_CASES} cases with an interval in both runs: what differs from run to run can't be told from a "
    "change of the code"
)


def with_run_to_run(shifts: Mapping[str, Location]) -> dict[str, Location] | None:
    """The shifts of the cases between two runs, each with the variance from run to run in its error.

    None if fewer than `MIN_CASES` cases have an error of their own.
    """
    known = [shift for shift in shifts.values() if shift.freedom]
    if len(known) < MIN_CASES:
        return None
    own = float(np.median([shift.error**2 for shift in known]))
    variance = max(0.0, scatter(np.array([shift.value for shift in known])) ** 2 - own)
    return {case: shift.plus(variance, FREEDOM * len(known)) for case, shift in shifts.items()}


def scatter(values: np.ndarray) -> float:
    """Qn, an estimate of the standard deviation from at least two values."""
    values = values[:: math.ceil(len(values) / MAX_CASES)]
    n = len(values)
    half = n // 2 + 1
    distances = np.abs(np.subtract.outer(values, values))[np.triu_indices(n, 1)]
    small = n / (n + 1.4) if n % 2 else n / (n + 3.8)  # for few values, from the same paper
    return small * QN_TO_SPREAD * float(np.partition(distances, math.comb(half, 2) - 1)[math.comb(half, 2) - 1])
