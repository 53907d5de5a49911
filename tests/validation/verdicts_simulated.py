"""Error rates of the check by simulation: the real looks and tests, on simulated pairs of workers.

The usual noise follows 80 pairs of `planted/` on the reference machine: a case's log-ratio of low quantiles has a
standard deviation of 0.6% to 2% over pairs; all cases of a pair share a fifth of the variance; a stall of one side
spoils a few pairs; stalls affect the mean more often than the low quantile. The other kinds of `NOISES` are worse in
one way each, so that what the tests assume does not hold.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rnnbench.analysis.verdict import Trial, Verdict
from rnnbench.harness.check.check import measure
from rnnbench.harness.check.paired import Ratios
from rnnbench.store.records import Case, Group
from tests.doubles import workload as small
from tests.validation.draws import Draw, heavy, normal, skewed
from tests.validation.pairs import KEPT

CASES = 24
MARGIN = 0.025
START_SECONDS = 0.85  # of a pair
PAIR_SECONDS = START_SECONDS + 0.12 * CASES  # where it was not measured
OBSERVING_SECONDS = 12.0  # before the first pair
STALL = 0.03  # mean of what a stall adds
PROCESSES = 2


class Noise(Protocol):
    """How the log-ratios of a suite's cases scatter over pairs of workers of equal code."""

    @property
    def pair_seconds(self) -> float:
        """Seconds of a pair that visits all cases."""

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """Draws the pairs of one suite: what noise adds to the low quantile and to the mean of each case."""


@dataclass(frozen=True)
class MadeUp:
    """Noise with these properties."""

    spread: float = 0.0105  # typical standard deviation of a case
    spread_of_spreads: float = 0.35  # of their logarithms, over cases
    noisiest: float | None = None  # the spread of the first case, if it is unlike the others
    shared: float = 0.2  # share of a case's variance that its pair shares
    unlike_pairs: float = 0.0  # spread of the logarithm of a pair's own factor
    first_pairs: float = 1.0  # factor of the spread in the first two pairs, which have fewer windows
    spoilt: float = 0.03  # share of low quantiles that a stall hits
    spoilt_mean: float = 0.15  # the same for the mean
    draw: Draw = normal
    pair_seconds: float = PAIR_SECONDS

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """As `Noise.of_suite`."""
        spreads = self.spread * np.exp(self.spread_of_spreads * rng.standard_normal(CASES))
        if self.noisiest is not None:
            spreads[0] = self.noisiest

        made = count()

        def pair() -> tuple[np.ndarray, np.ndarray]:
            own, common = self.draw(rng, (CASES,)), self.draw(rng, (1,))
            factor = math.exp(self.unlike_pairs * rng.standard_normal()) * (self.first_pairs if next(made) < 2 else 1.0)
            scatter = factor * spreads * (math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * own)
            return scatter + _stalls(rng, self.spoilt), scatter + _stalls(rng, self.spoilt_mean)

        return pair


@dataclass(frozen=True)
class TwoModes:
    """Some cases have two modes: each of their processes is slow with some chance, in all of its calls."""

    cases: int  # that have two modes, the first ones
    slower: float  # 0.08: a slow process is 8% slower
    share: float = 0.5  # of the processes that are slow
    base_too: bool = True  # otherwise only the head has a slow mode, which makes it slower
    spread: float = 0.006
    pair_seconds: float = PAIR_SECONDS

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """As `Noise.of_suite`."""

        def pair() -> tuple[np.ndarray, np.ndarray]:
            head, base = math.log1p(self.slower) * (rng.random((2, CASES)) < self.share)
            modes = np.where(np.arange(CASES) < self.cases, head - base * self.base_too, 0.0)
            low = modes + self.spread * rng.standard_normal(CASES)
            return low, low + 0.002 * rng.standard_normal(CASES)

        return pair


@dataclass(frozen=True)
class CoarseClock:
    """Low quantiles of calls of 10 to 20 us that are read in whole steps of a clock, so that many are equal."""

    step: float = 0.5e-6
    jitter: float = 0.005
    pair_seconds: float = PAIR_SECONDS

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """As `Noise.of_suite`."""
        seconds = rng.uniform(10e-6, 20e-6, CASES)

        def pair() -> tuple[np.ndarray, np.ndarray]:
            head, base = seconds * np.exp(self.jitter * rng.standard_normal((2, CASES)))
            return np.log(np.round(head / self.step) / np.round(base / self.step)), np.log(head / base)

        return pair


def _stalls(rng: np.random.Generator, share: float) -> np.ndarray:
    """What stalls of either side add to log-ratios."""
    struck = rng.random(CASES) < share
    return np.where(struck, rng.choice([-1, 1], CASES) * rng.exponential(STALL, CASES), 0.0)


@dataclass(frozen=True)
class RealPairs:
    """Pairs that were measured on equal code (`python -m tests.validation pairs`), drawn again and again.

    Which side is called the head is a matter of chance, so each pair is drawn with either sign.
    """

    low: np.ndarray  # (pairs, cases)
    mean: np.ndarray
    pair_seconds: float

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """As `Noise.of_suite`."""
        order = rng.permutation(self.low.shape[1])

        def pair() -> tuple[np.ndarray, np.ndarray]:
            row, sign = rng.integers(len(self.low)), rng.choice([-1, 1])
            return sign * self.low[row, order], sign * self.mean[row, order]

        return pair


def real_pairs(file: Path = KEPT) -> dict[str, RealPairs]:
    """The measured pairs, by the machine and what ran beside them; empty if there is no such file."""
    if not file.exists():
        return {}
    kinds = {}
    for names, part in pd.read_csv(file).groupby(["session", "processor", "beside"], sort=False):
        low, mean = (
            part.pivot_table(index="pair", columns="case", values=ratio).dropna().to_numpy()
            for ratio in ("low", "mean")
        )
        seconds = float(part.groupby("pair")["seconds"].first().median())
        if low.shape[1] == CASES:
            measured = RealPairs(low, mean, PAIR_SECONDS if math.isnan(seconds) else seconds)
            kinds[f"{len(low)} real pairs: {', '.join(map(str, names))}"] = measured
    return kinds


NOISES: dict[str, Noise] = {
    "usual": MadeUp(),
    "one case with 3%, 23 with 0.6%": MadeUp(0.006, 0.0, 0.03, shared=0.0, spoilt=0.0, spoilt_mean=0.0),
    "half shared by a pair": MadeUp(shared=0.5),
    "0.8 shared by a pair": MadeUp(spread_of_spreads=0.0, shared=0.8, spoilt=0.0, spoilt_mean=0.0),
    "cases from 0.1% to 4%": MadeUp(0.006, 0.9),
    "heavy tails": MadeUp(draw=heavy),
    "skewed": MadeUp(draw=skewed),
    "pairs of unlike noise": MadeUp(unlike_pairs=0.7),
    "first two pairs twice as noisy": MadeUp(first_pairs=2.0),
}
NOISES |= real_pairs()
# Of these only equal code is simulated, or only what their name says; `TwoModes` and `CoarseClock` tell more.
MODES: dict[str, tuple[Noise, str]] = {
    "6 cases with two modes 6% apart": (TwoModes(6, 0.06), "nothing differs"),
    "6 cases with two modes 8% apart": (TwoModes(6, 0.08), "nothing differs"),
    "clock of 0.5 us, jitter 0.5%": (CoarseClock(), "nothing differs"),
    "clock of 0.5 us, jitter 1%": (CoarseClock(jitter=0.01), "nothing differs"),
    "half slower by 6% in half of the processes": (TwoModes(12, 0.06, base_too=False), "slow modes"),
    "half slower by 10% in 30% of the processes": (TwoModes(12, 0.10, 0.3, base_too=False), "slow modes"),
}


class SimulatedRunner:
    """Draws the results of `PairedRunner` and counts its time."""

    def __init__(
        self, rng: np.random.Generator, low: np.ndarray, mean: np.ndarray, groups: Sequence[Group], noise: Noise
    ) -> None:
        """`low`, `mean`: true log-ratios of the cases."""
        self.log_ratios: dict[str, Ratios] = {}
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
            ratios, index = self.log_ratios.setdefault(key, Ratios()), self._indices[key]
            ratios.low.append(float(self._low[index] + low[index]))
            ratios.mean.append(float(self._mean[index] + mean[index]))
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
        odd = np.arange(CASES) % 2 == 1
        values = (self.low, self.low if self.mean is None else self.mean)
        low, mean = (np.log1p(np.where(odd, value, self.others)) for value in values)
        return low, mean


@dataclass(frozen=True)
class Suite:
    """How the check of a suite ended."""

    verdicts: list[Verdict]  # of each case
    seconds: float
    held: float  # share of the shown intervals that hold the true ratio


TRUTHS = {
    "nothing differs": Truth(0.0),
    "all at the margin": Truth(MARGIN, others=MARGIN),
    "half 10%, half at the margin": Truth(0.10, others=MARGIN),
    "half 3%": Truth(0.03),
    "half 5%": Truth(0.05),
    "half 10%": Truth(0.10),
}
MORE_TRUTHS = {
    "half 50% in one call of ten": Truth(0.0, 0.05),  # with the usual noise alone
    "slow modes": Truth(0.0),  # what the noise adds to the first half of the cases is their truth
}


def verdicts(rng: np.random.Generator, truth: Truth, budget_seconds: float, noise: Noise) -> Suite:
    """One simulated suite."""
    cases = [small.case("vanilla", batch_size=number + 1) for number in range(CASES)]
    groups = [Group(case.workload, (case,)) for case in cases]
    runner: Any = SimulatedRunner(rng, *truth.log_ratios(), groups, noise)
    trial = Trial({case.key: MARGIN for case in cases})
    measure(runner, groups, trial, budget_seconds, lambda step: None)
    judged = [trial.verdicts()[case.key] for case in cases]
    pairs = [
        (estimate, true)
        for one, *trues in zip(judged, *truth.log_ratios(), strict=True)
        for estimate, true in zip((one.low, one.mean), trues, strict=True)
    ]
    held = np.mean([estimate.lower <= math.exp(true) <= estimate.upper for estimate, true in pairs])
    return Suite([one.verdict for one in judged], runner.seconds, float(held))


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
        "intervals that hold": float(np.mean([run.held for run in runs])),
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
