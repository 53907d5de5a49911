"""Error rates of comparisons of stored runs by simulation: runs that differ as a whole, with known truth.

Cases may differ from run to run by unlike amounts: the logarithm of a case's `RUN_SPREAD` has the standard deviation
`unlikeness` over cases. Two runs do not show which cases these are.
"""

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import locations
from rnnbench.analysis.stored import judged_shifts

CASES = 24
MARGIN = 0.025
REPLICATES, SPREAD = 6, 0.006  # of a run, and the standard deviation of a case's log-ratio over them
# Standard deviation of the difference of a case's log-ratio between two runs of equal code, of the typical case. Where
# all cases are at the margin, it is the root mean square over cases.
RUN_SPREAD = 0.008
UNLIKENESS = (0.0, 0.5, 0.9)
ODD, FIRST = np.arange(CASES) % 2 == 1, np.arange(CASES) == 0
TRUTHS = {
    "nothing differs": np.zeros(CASES),
    "all at the margin": np.full(CASES, MARGIN),
    "one 10%": np.where(FIRST, 0.10, 0.0),
    "half 10%": np.where(ODD, 0.10, 0.0),
    "half 10%, half at the margin": np.where(ODD, 0.10, MARGIN),
    "half 20%": np.where(ODD, 0.20, 0.0),
    "one 20%": np.where(FIRST, 0.20, 0.0),
    "one 50%": np.where(FIRST, 0.50, 0.0),
    "half 50%": np.where(ODD, 0.50, 0.0),
}


def error_rates(
    pairs: int, truths: Iterable[str] = TRUTHS, unlikeness_of_cases: Iterable[float] = UNLIKENESS
) -> pd.DataFrame:
    """One row for each truth and unlikeness of cases: the verdicts in so many pairs of runs."""
    rows = []
    for unlikeness, name in itertools.product(unlikeness_of_cases, truths):
        slower = TRUTHS[name]
        rng = np.random.default_rng([*name.encode()])
        verdicts = np.array([_verdicts(rng, slower, unlikeness) for _ in range(pairs)])
        changed = slower > MARGIN
        called = np.isin(verdicts[:, ~changed], ["regressed", "improved"])
        share_found = (verdicts[:, changed] == "regressed").mean() if changed.any() else math.nan
        rows.append(
            {
                "truth": name,
                "unlikeness": unlikeness,
                "pairs of runs": pairs,
                "pairs with a false verdict": float(called.any(axis=1).mean()),
                "cases with one": float(called.mean()),
                "changed cases: regressed": float(share_found),
                "other cases: unchanged": float((verdicts[:, ~changed] == "unchanged").mean()),
            }
        )
    return pd.DataFrame(rows)


def _verdicts(rng: np.random.Generator, slower: np.ndarray, unlikeness: float) -> list[str]:
    spreads = RUN_SPREAD * np.exp(unlikeness * rng.standard_normal(CASES))
    if (slower > 0).all():
        spreads /= math.exp(unlikeness**2)
    base, head = simulated_run(rng, np.zeros(CASES), spreads), simulated_run(rng, np.log1p(slower), spreads)
    judged = judged_shifts(base, head, dict.fromkeys(base.index, MARGIN))
    return [judged[str(case)].verdict for case in range(CASES)]


def simulated_run(rng: np.random.Generator, true: np.ndarray, spreads: float | np.ndarray) -> pd.DataFrame:
    """The frame `case_ratios` of a run with these true log-ratios; `spreads`: by which those of another run differ."""
    run = rng.standard_normal(CASES) * spreads / math.sqrt(2)
    logs = true[:, None] + run[:, None] + rng.normal(0, SPREAD, (CASES, REPLICATES))
    places = locations(list(logs))
    columns = dict.fromkeys(["shift", "mean", "quiet", "quiet_mean"], places) | {"is_undisturbed": False}
    return pd.DataFrame(columns, [str(case) for case in range(CASES)])
