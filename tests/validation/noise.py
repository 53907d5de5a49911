"""Noise: shapes of it for simulations, how ratios scatter over pairs of workers, and processes that keep cores busy.

The usual noise follows 80 pairs of `planted/` on the reference machine: a case's log-ratio of low quantiles has a
standard deviation of 0.6% to 2% over pairs; all cases of a pair share a fifth of the variance; a stall of one side
spoils a few pairs; stalls affect the mean more often than the low quantile. The other kinds of `NOISES` are worse in
one way each, so that what the tests assume does not hold.
"""

import math
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

BURST_SECONDS = (1.0, 3.0)
CASES = 24  # of a suite
START_SECONDS = 0.85  # of a pair
PAIR_SECONDS = START_SECONDS + 0.12 * CASES  # where it was not measured
STALL = 0.03  # mean of what a stall adds
REAL = Path(__file__).parents[2] / "results" / "validation" / "pairs.csv"
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The noise that Student's t test assumes."""
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Student's t with three degrees of freedom."""
    return rng.standard_t(3, shape) / math.sqrt(3)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Exponential: often a little below the mean, and sometimes far above it."""
    return rng.exponential(size=shape) - 1


def spoilt(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal, with one value in ten from a spread that is four times as wide."""
    values = rng.standard_normal(shape) + np.where(rng.random(shape) < 0.1, 4 * rng.standard_normal(shape), 0.0)
    return values / math.sqrt(1 + 0.1 * 16)


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
            of_cases, common = self.draw(rng, (CASES,)), self.draw(rng, (1,))
            factor = math.exp(self.unlike_pairs * rng.standard_normal()) * (self.first_pairs if next(made) < 2 else 1.0)
            scatter = factor * spreads * (math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * of_cases)
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
class ModesOfDefinitions:
    """Each process is slow in all cases of a definition, with a chance of one half; four definitions of six cases.

    The definitions are those of `tests.validation.verdicts_simulated.families`.
    """

    slower: float
    spread: float = 0.006
    pair_seconds: float = PAIR_SECONDS

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """As `Noise.of_suite`."""
        number = np.arange(CASES)
        definition = number % 2 * 2 + number // 12

        def pair() -> tuple[np.ndarray, np.ndarray]:
            head, base = math.log1p(self.slower) * (rng.random((2, 4)) < 0.5)
            low = (head - base)[definition] + self.spread * rng.standard_normal(CASES)
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


def real_pairs(file: Path = REAL) -> dict[str, RealPairs]:
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
    "4 definitions with two modes 8% apart": (ModesOfDefinitions(0.08), "nothing differs"),
    "clock of 0.5 us, jitter 0.5%": (CoarseClock(), "nothing differs"),
    "clock of 0.5 us, jitter 1%": (CoarseClock(jitter=0.01), "nothing differs"),
    "half slower by 6% in half of the processes": (TwoModes(12, 0.06, base_too=False), "slow modes"),
    "half slower by 10% in 30% of the processes": (TwoModes(12, 0.10, 0.3, base_too=False), "slow modes"),
}


@contextmanager
def hogs(number: int, *, rests: bool = False) -> Iterator[None]:
    """Run so many busy processes; with `rests`, each rests after a burst for as long as the burst took, on average."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_burn, args=(rests,), daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _burn(rests: bool) -> None:
    while True:
        end = time.monotonic() + random.uniform(*BURST_SECONDS)
        while time.monotonic() < end:
            sum(range(10_000))
        if rests:
            time.sleep(random.uniform(*BURST_SECONDS))
