"""Times that grow from call to call, and noise that only looks like it."""

import random
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from rnnbench.analysis.rounds import BLOCKS, TURNS, growing

Noise = Callable[[random.Random, int], Iterator[tuple[float, float]]]


def independent(rng: random.Random, turns: int) -> Iterator[tuple[float, float]]:
    for _ in range(turns):
        yield rng.lognormvariate(0, 0.1), rng.lognormvariate(0, 0.1)


def drifting(rng: random.Random, turns: int) -> Iterator[tuple[float, float]]:
    """A machine that becomes slower and slower, by half in the end."""
    for turn in range(turns):
        slow = 1 + turn / turns / 2
        yield slow * rng.lognormvariate(0, 0.05), slow * rng.lognormvariate(0, 0.05)


def bimodal(rng: random.Random, turns: int) -> Iterator[tuple[float, float]]:
    """A machine that takes 1.3 times as long for a while; the two are not always in the same state."""
    slow = 1.0
    for _ in range(turns):
        pair = []
        for _ in range(2):
            slow = rng.choice((1.0, 1.3)) if rng.random() < 0.1 else slow
            pair.append(slow * rng.lognormvariate(0, 0.02))
        yield pair[0], pair[1]


def wandering(rng: random.Random, turns: int) -> Iterator[tuple[float, float]]:
    """Each module wanders by itself, and resembles its last turn by 0.7."""
    states = [0.0, 0.0]
    for _ in range(turns):
        states = [0.7 * state + rng.gauss(0, 0.05) for state in states]
        yield float(np.exp(states[0])), float(np.exp(states[1]))


def stalling(rng: random.Random, turns: int) -> Iterator[tuple[float, float]]:
    """One turn in five is held up, now and then very long."""
    for _ in range(turns):
        yield tuple(1 + (rng.paretovariate(1) if rng.random() < 0.2 else 0.0) for _ in range(2))  # type: ignore[misc]


def taken(noise: Noise, seed: int, turns: int, slope: float = 0.0) -> Mapping[str, list[float]]:
    pairs = list(noise(random.Random(seed), turns))
    mine = [first * (1 + slope * turn / turns) for turn, (first, _) in enumerate(pairs)]
    return {"mine": mine, "base": [second for _, second in pairs]}


@pytest.mark.parametrize("turns", [BLOCKS * TURNS, 80, 400])
@pytest.mark.parametrize("noise", [independent, drifting, bimodal, wandering, stalling])
def test_noise_is_called_growth_at_most_once_in_a_hundred_times(noise: Noise, turns: int) -> None:
    called = sum(bool(growing(taken(noise, seed, turns))) for seed in range(400))
    assert called <= 4


@pytest.mark.parametrize("noise", [independent, drifting, bimodal, wandering, stalling])
def test_work_that_doubles_is_found_in_each_noise(noise: Noise) -> None:
    found = [growing(taken(noise, seed, 200, slope=1.0)) for seed in range(40)]
    assert sum(set(each) == {"mine"} for each in found) >= 36


def test_growth_is_told_as_a_share_and_two_modules_are_needed() -> None:
    steady = [1.0] * 80
    grown = [1 + turn / 79 for turn in range(80)]
    assert growing({"mine": grown, "base": steady})["mine"] == pytest.approx(0.8, abs=0.1)
    assert growing({"mine": grown}) == {}
    assert growing({"mine": grown[:20], "base": steady[:20]}) == {}
