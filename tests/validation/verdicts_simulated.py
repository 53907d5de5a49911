"""Error rates of the check by simulation: the real looks and tests, on simulated pairs of workers.

The distributions follow 80 pairs of `planted/` on the reference machine: a case's log-ratio of low quantiles has a
standard deviation of 0.6% to 2% over pairs; all cases of a pair share a fifth of the variance; a stall of one side
spoils a few pairs; stalls affect the mean more often than the low quantile.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.verdict import Trial, Verdict
from rnnbench.harness.check.check import measure
from rnnbench.harness.check.paired import Ratios
from rnnbench.store.records import Case, Group
from tests import workload as small

CASES = 24
MARGIN = 0.025
START_SECONDS, VISIT_SECONDS = 0.85, 0.12  # of a pair, and of each case in it
TYPICAL_SPREAD, SPREAD_OF_SPREADS = 0.0105, 0.35  # the second is on logarithms
SHARED = 0.2  # share of a case's variance that its pair shares
SPOILT, STALL = 0.03, 0.03  # share of low quantiles that a stall hits, and the mean of what it adds
SPOILT_MEAN, STALL_MEAN = 0.15, 0.03  # the same for the mean


class SimulatedRunner:
    """Draws the results of `PairedRunner` and counts its time."""

    def __init__(self, rng: np.random.Generator, low: np.ndarray, mean: np.ndarray, groups: Sequence[Group]) -> None:
        """`low`, `mean`: true log-ratios of the cases."""
        self.log_ratios: dict[str, Ratios] = {}
        self.replicates, self.seconds = 0, 0.0
        self._rng, self._low, self._mean = rng, low, mean
        self._place = {group.cases[0].key: number for number, group in enumerate(groups)}
        self._spread = TYPICAL_SPREAD * np.exp(SPREAD_OF_SPREADS * rng.standard_normal(len(groups)))

    def replicate(self, groups: Sequence[Group], on_visit: Callable[[int], None]) -> None:
        """Draw one pair: a log-ratio for each case of the groups."""
        on_visit(0)
        count, rng = len(self._place), self._rng
        common, own = rng.standard_normal(), rng.standard_normal(count)
        noise = self._spread * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)
        low = self._low + noise + self._stalls(SPOILT, STALL)
        mean = self._mean + noise + self._stalls(SPOILT_MEAN, STALL_MEAN)
        for group in groups:
            key = group.cases[0].key
            ratios = self.log_ratios.setdefault(key, Ratios())
            ratios.low.append(float(low[self._place[key]]))
            ratios.mean.append(float(mean[self._place[key]]))
        self.replicates += 1
        self.seconds += self.expected_seconds(groups)

    def _stalls(self, share: float, size: float) -> np.ndarray:
        """What stalls of either side add to log-ratios."""
        rng, count = self._rng, len(self._place)
        struck = rng.random(count) < share
        return np.where(struck, rng.choice([-1, 1], count) * rng.exponential(size, count), 0.0)

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """Seconds that a pair takes."""
        return START_SECONDS + VISIT_SECONDS * len(groups)

    def failed(self, case: Case) -> bool:
        """No case fails."""
        return False


def verdicts(
    rng: np.random.Generator, low: np.ndarray, mean: np.ndarray, budget_seconds: float
) -> tuple[list[Verdict], float]:
    """The verdict of each case in one suite, and the seconds of the check."""
    cases = [small.case("vanilla", batch_size=number + 1) for number in range(len(low))]
    groups = [Group(case.workload, (case,)) for case in cases]
    runner: Any = SimulatedRunner(rng, low, mean, groups)
    trial = Trial({case.key: MARGIN for case in cases})
    measure(runner, groups, trial, budget_seconds, lambda step: None)
    judged = trial.verdicts()
    return [judged[case.key].verdict for case in cases], runner.seconds


def error_rates(suites: int, budgets: Sequence[float] = (120.0, 60.0)) -> pd.DataFrame:
    """One row for each truth and budget: verdicts of the cases that differ and of those that do not."""
    half = np.arange(CASES) % 2
    single = (np.arange(CASES) == 0).astype(int)
    truths: Mapping[str, tuple[float, float, np.ndarray]] = {
        "nothing differs": (0.0, 0.0, half * 0),
        "all just at the margin": (MARGIN, MARGIN, half * 0 + 1),
        "3% in half": (0.03, 0.03, half),
        "5% in half": (0.05, 0.05, half),
        "5% in one": (0.05, 0.05, single),
        "10% in half": (0.10, 0.10, half),
        "one call in ten by 50%, in half": (0.0, 0.05, half),
    }
    rows = []
    for budget in budgets:
        for name, (low, mean, where) in truths.items():
            rng = np.random.default_rng([round(budget), *name.encode()])
            runs = [verdicts(rng, np.log1p(low * where), np.log1p(mean * where), budget) for _ in range(suites)]
            rows.append({"truth": name, "budget (s)": budget, **_summary(runs, where.astype(bool))})
    return pd.DataFrame(rows)


def _summary(runs: Sequence[tuple[list[Verdict], float]], differs: np.ndarray) -> dict[str, Any]:
    judged = np.array([run[0] for run in runs])  # (suite, case)
    same, other = judged[:, ~differs], judged[:, differs]
    alarms = np.isin(same, ["regressed", "improved"]).any(axis=1)
    any_regressed = (other == "regressed").any(axis=1)
    return {
        "suites": len(runs),
        "suites with a false alarm": float(alarms.mean()) if same.size else None,
        "unchanged called unchanged": float((same == "unchanged").mean()) if same.size else None,
        "differing: regressed": float((other == "regressed").mean()) if other.size else None,
        "inconclusive": float((other == "inconclusive").mean()) if other.size else None,
        "unchanged": float((other == "unchanged").mean()) if other.size else None,
        "suites with a regression": float(any_regressed.mean()) if other.size else None,
        "median seconds": float(np.median([run[1] for run in runs])),
    }
