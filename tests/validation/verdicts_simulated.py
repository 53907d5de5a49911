"""Error rates of the check by simulation: the real looks and tests, on simulated pairs of workers.

The 24 cases of a suite belong to four changed definitions: six cases each, of only even or only odd ones, so that a
slowdown of every second case is one of two whole definitions.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.pairs import PairRatio
from rnnbench.analysis.verdict import Trial, Verdict
from rnnbench.check.looks import measure
from rnnbench.store.records import Case, Group
from tests.doubles import workload as small
from tests.validation.noise import CASES, MODES, NOISES, START_SECONDS, Noise

MARGIN = 0.025
OBSERVING_SECONDS = 12.0  # before the first pair
PROCESSES = 2
FAMILY = 6  # cases that share changed code


class SimulatedRunner:
    """Draws the results of `PairedRunner` and counts its time."""

    def __init__(
        self, rng: np.random.Generator, low: np.ndarray, mean: np.ndarray, groups: Sequence[Group], noise: Noise
    ) -> None:
        """`low`, `mean`: true log-ratios of the cases."""
        self.ratios = defaultdict[str, list[PairRatio]](list)
        self.replicates, self.seconds = 0, OBSERVING_SECONDS
        self._low, self._mean = low, mean
        self._indices = {group.cases[0].key: number for number, group in enumerate(groups)}
        self._pair, self._visit_seconds = noise.of_suite(rng), (noise.pair_seconds - START_SECONDS) / CASES

    def replicate(self, groups: Sequence[Group], left: float, on_visit: Callable[[int], None]) -> None:
        """Draw one pair: a log-ratio for each case of the groups."""
        on_visit(0)
        low, mean = self._pair()
        for group in groups:
            key = group.cases[0].key
            index = self._indices[key]
            logs = float(self._low[index] + low[index]), float(self._mean[index] + mean[index])
            self.ratios[key].append(PairRatio(self.replicates, *logs))
        self.replicates += 1
        self.seconds += self.expected_seconds(groups)

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """Seconds that a pair takes."""
        return START_SECONDS + self._visit_seconds * len(groups)

    def failed(self, case: Case) -> bool:
        """No case fails."""
        return False


@dataclass(frozen=True)
class Truth:
    """What differs between base and head; each value is a slowdown of every second case, or of the others."""

    low: float
    mean: float | None = None  # where it is not that of the low quantile
    others: float = 0.0

    def log_ratios(self) -> tuple[np.ndarray, np.ndarray]:
        """The true log-ratios of all cases, for the low quantile and for the mean."""
        chosen = np.arange(CASES) % 2 == 1
        values = (self.low, self.low if self.mean is None else self.mean)
        low, mean = (np.log1p(np.where(chosen, value, self.others)) for value in values)
        return low, mean


@dataclass(frozen=True)
class Suite:
    """How the check of a suite ended."""

    verdicts: list[Verdict]  # of each case
    seconds: float
    held: float  # share of the shown intervals that hold the true ratio; NaN if none is shown


TRUTHS = {
    "nothing differs": Truth(0.0),
    "all at the margin": Truth(MARGIN, others=MARGIN),
    "half 5%": Truth(0.05),
    "half 10%": Truth(0.10),
}
MORE_TRUTHS = {
    "half 50% in one call of ten": Truth(0.0, 0.05),  # with the usual noise alone
    "slow modes": Truth(0.0),  # what the noise adds to the first half of the cases is their truth
}


def families(cases: Sequence[Case], size: int) -> dict[str, list[str]]:
    """Families of so many cases, each of only even or only odd ones; none if the size is 0."""
    both = [case.key for first in (0, 1) for case in cases[first::2]]
    return {f"family {start}": both[start : start + size] for start in range(0, len(both), size)} if size else {}


def verdicts(
    rng: np.random.Generator, truth: Truth, budget_seconds: float, noise: Noise, family_size: int = FAMILY
) -> Suite:
    """One simulated suite."""
    cases = [small.case("vanilla", batch_size=number + 1) for number in range(CASES)]
    groups = [Group(case.workload, (case,)) for case in cases]
    runner: Any = SimulatedRunner(rng, *truth.log_ratios(), groups, noise)
    trial = Trial({case.key: MARGIN for case in cases}, families=families(cases, family_size))
    measure(runner, groups, trial, budget_seconds, lambda step: None)
    verdicts = trial.verdicts()
    judged = [verdicts[case.key] for case in cases]
    pairs = [
        (estimate, true)
        for one, *trues in zip(judged, *truth.log_ratios(), strict=True)
        for estimate, true in zip((one.low, one.mean), trues, strict=True)
    ]
    return Suite([one.verdict for one in judged], runner.seconds, share_held(pairs))


def share_held(pairs: Sequence[tuple[Estimate, float]]) -> float:
    """The share of the intervals that hold the true log-ratio, of the estimates that have one; NaN if none has."""
    held = [each.lower <= math.exp(true) <= each.upper for each, true in pairs if each.has_interval]
    return float(np.mean(held)) if held else math.nan


def error_rates(suites: int, budgets: Sequence[float] = (60.0,)) -> pd.DataFrame:
    """One row for each noise, truth and budget: verdicts of the cases that differ and of those that do not."""
    kinds = [(noise, truth) for noise in NOISES for truth in TRUTHS]
    kinds += [("usual", "half 50% in one call of ten"), *((noise, truth) for noise, (_, truth) in MODES.items())]
    kinds_and_budgets = [(*kind, budget) for budget in budgets for kind in kinds]
    with ProcessPoolExecutor(PROCESSES) as pool:
        rows = list(pool.map(partial(_row, suites), *zip(*kinds_and_budgets, strict=True)))
    return pd.DataFrame(rows)


def _row(suites: int, noise: str, name: str, budget: float) -> dict[str, Any]:
    rng = np.random.default_rng([round(budget), *noise.encode(), *name.encode()])
    truth = (TRUTHS | MORE_TRUTHS)[name]
    kind = NOISES[noise] if noise in NOISES else MODES[noise][0]
    runs = [verdicts(rng, truth, budget, kind) for _ in range(suites)]
    if name == "slow modes":
        return {"noise": noise, "truth": name, "budget (s)": budget, **_of_slow_modes(runs)}
    return {"noise": noise, "truth": name, "budget (s)": budget, **_summary(runs, truth)}


def _summary(runs: Sequence[Suite], truth: Truth) -> dict[str, Any]:
    judged = np.array([run.verdicts for run in runs])  # (suite, case)
    size = np.expm1(np.maximum(*truth.log_ratios()))
    same, at_the_margin, slower = (
        judged[:, which] for which in (size == 0, np.isclose(size, MARGIN), size > 1.001 * MARGIN)
    )
    called = np.isin(at_the_margin, ["regressed", "improved"])
    return {
        "suites": len(runs),
        "median seconds": float(np.median([run.seconds for run in runs])),
        "intervals that hold": float(np.nanmean([run.held for run in runs])),
        "unchanged: suites with a false alarm": _share(np.isin(same, ["regressed", "improved"]).any(axis=1), same),
        "unchanged: called unchanged": _share(same == "unchanged", same),
        "at the margin: most often called case": float(called.mean(axis=0).max()) if called.size else None,
        "at the margin: suites with a call": _share(called.any(axis=1), called),
        "slower: regressed": _share(slower == "regressed", slower),
        "slower: unchanged": _share(slower == "unchanged", slower),
    }


def _of_slow_modes(runs: Sequence[Suite]) -> dict[str, Any]:
    """The summary of suites in which the first half of the cases is slower in the mean over processes."""
    judged = np.array([run.verdicts for run in runs])
    slower, same = judged[:, : CASES // 2], judged[:, CASES // 2 :]
    return {
        "suites": len(runs),
        "median seconds": float(np.median([run.seconds for run in runs])),
        "unchanged: suites with a false alarm": _share(np.isin(same, ["regressed", "improved"]).any(axis=1), same),
        "unchanged: called unchanged": _share(same == "unchanged", same),
        "slower: regressed": _share(slower == "regressed", slower),
        "slower: unchanged": _share(slower == "unchanged", slower),
    }


def _share(holds: Any, of: np.ndarray) -> float | None:
    return float(holds.mean()) if of.size else None
