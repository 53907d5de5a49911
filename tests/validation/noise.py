"""Noise for simulations: its shapes, and how ratios scatter over pairs of workers.

The usual noise follows 80 pairs of `planted/` on the reference machine: a case's log-ratio of low quantiles has a
standard deviation of 0.6% to 2% over pairs; all cases of a pair share a fifth of the variance; a stall of one side
spoils a few pairs; stalls affect the mean more often than the low quantile. The other kinds of `NOISES` are worse in
one way each, so that what the tests assume does not hold.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

CASES = 24  # of a suite
START_SECONDS = 0.85  # of a pair
PAIR_SECONDS = START_SECONDS + 0.12 * CASES  # where it was not measured
STALL = 0.03  # mean of what a stall adds
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
    spoilt: float = 0.03  # share of low quantiles that a stall hits
    spoilt_mean: float = 0.15  # the same for the mean
    draw: Draw = normal
    pair_seconds: float = PAIR_SECONDS

    def of_suite(self, rng: np.random.Generator) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """As `Noise.of_suite`."""
        spreads = self.spread * np.exp(self.spread_of_spreads * rng.standard_normal(CASES))
        if self.noisiest is not None:
            spreads[0] = self.noisiest

        def pair() -> tuple[np.ndarray, np.ndarray]:
            of_cases, common = self.draw(rng, (CASES,)), self.draw(rng, (1,))
            factor = math.exp(self.unlike_pairs * rng.standard_normal())
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


def _stalls(rng: np.random.Generator, share: float) -> np.ndarray:
    """What stalls of either side add to log-ratios."""
    struck = rng.random(CASES) < share
    return np.where(struck, rng.choice([-1, 1], CASES) * rng.exponential(STALL, CASES), 0.0)


NOISES: dict[str, Noise] = {
    "usual": MadeUp(),
    "one case with 3%, 23 with 0.6%": MadeUp(0.006, 0.0, 0.03, shared=0.0, spoilt=0.0, spoilt_mean=0.0),
    "half shared by a pair": MadeUp(shared=0.5),
    "cases from 0.1% to 4%": MadeUp(0.006, 0.9),
    "heavy tails": MadeUp(draw=heavy),
    "pairs of unlike noise": MadeUp(unlike_pairs=0.7),
}
# Of these only equal code is simulated, or only what their name says.
MODES: dict[str, tuple[Noise, str]] = {
    "6 cases with two modes 8% apart": (TwoModes(6, 0.08), "nothing differs"),
    "half slower by 10% in 30% of the processes": (TwoModes(12, 0.10, 0.3, base_too=False), "slow modes"),
}
