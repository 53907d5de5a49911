"""Error rates of comparisons of stored runs by simulation: runs that differ as a whole, with known truth."""

import math

import numpy as np
import pandas as pd

from rnnbench.analysis.location import locations
from rnnbench.analysis.stored import LocatedRatios, judged_shifts, shifts_between

CASES = 24
MARGIN = 0.025
REPLICATES, SPREAD = 6, 0.006  # of a run, and the standard deviation of a case's log-ratio over them
RUN_SPREAD = 0.008  # standard deviation of the difference of a case's log-ratio between two runs of equal code
ODD, FIRST = np.arange(CASES) % 2 == 1, np.arange(CASES) == 0
TRUTHS = {
    "nothing differs": np.zeros(CASES),
    "all at the margin": np.full(CASES, MARGIN),
    "one 10%": np.where(FIRST, 0.10, 0.0),
    "half 10%": np.where(ODD, 0.10, 0.0),
    "half 10%, half at the margin": np.where(ODD, 0.10, MARGIN),
    "half 20%": np.where(ODD, 0.20, 0.0),
}


def error_rates(pairs: int) -> pd.DataFrame:
    """One row for each truth: the verdicts in so many pairs of runs."""
    rows = []
    for name, slower in TRUTHS.items():
        rng = np.random.default_rng([*name.encode()])
        verdicts = np.array([_verdicts(rng, slower) for _ in range(pairs)])
        changed = slower > MARGIN
        called = np.isin(verdicts[:, ~changed], ["regressed", "improved"])
        found = (verdicts[:, changed] == "regressed").mean() if changed.any() else math.nan
        rows.append(
            {
                "truth": name,
                "pairs of runs": pairs,
                "pairs with a false verdict": float(called.any(axis=1).mean()),
                "changed cases: regressed": float(found),
                "other cases: unchanged": float((verdicts[:, ~changed] == "unchanged").mean()),
            }
        )
    return pd.DataFrame(rows)


def _verdicts(rng: np.random.Generator, slower: np.ndarray) -> list[str]:
    base, head = simulated_run(rng, np.zeros(CASES)), simulated_run(rng, np.log1p(slower))
    judged = judged_shifts(*shifts_between(base, head, base), dict.fromkeys(base, MARGIN))
    return [judged[str(case)].verdict for case in range(CASES)]


def simulated_run(rng: np.random.Generator, true: np.ndarray) -> LocatedRatios:
    """A run whose cases have these true log-ratios."""
    run = rng.normal(0, RUN_SPREAD / math.sqrt(2), (CASES, 1))
    logs = true[:, None] + run + rng.normal(0, SPREAD, (CASES, REPLICATES))
    return {str(case): (ratio, ratio) for case, ratio in enumerate(locations(list(logs)))}
