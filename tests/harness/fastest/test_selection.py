"""The choice of the fastest way, from times that the test sets."""

import math
import random
from collections.abc import Mapping
from contextlib import nullcontext

import pytest

from rnnbench.analysis.replicate import Times
from rnnbench.harness.fastest.selection import GOOD_ENOUGH, STAGES, WayComparison, select
from rnnbench.workloads.phases import TimedCall


class Rounds:
    """Rounds in which each way takes its time, with noise that all ways of a round share and noise of their own."""

    def __init__(self, seconds: Mapping[str, float], spread: float = 0.0, seconds_per_round: float = 1.0) -> None:
        self.seconds = seconds
        self.spread = spread
        self.stages: list[tuple[str, ...]] = []
        self.clock = 0.0
        self._per_round = seconds_per_round
        self._rng = random.Random(0)

    def take(self, calls: Mapping[str, TimedCall], rounds: int, deadline: float) -> Mapping[str, list[Times]]:
        self.stages.append(tuple(calls))
        times: dict[str, list[Times]] = {name: [] for name in calls}
        for number in range(rounds):
            if number and self.clock >= deadline:
                break
            self.clock += self._per_round
            shared = math.exp(self._rng.gauss(0.0, 0.3))
            for name in calls:
                low = self.seconds[name] * shared * math.exp(self._rng.gauss(0.0, self.spread))
                times[name].append(Times(low=low, mean=low))
        return times

    def found(self, deadline: float = math.inf) -> WayComparison:
        calls: dict[str, TimedCall] = {name: TimedCall(lambda: None, nullcontext) for name in self.seconds}
        return select(calls, "as given", self.take, deadline, lambda: self.clock)


def test_ways_that_are_surely_slower_are_left_out_of_later_rounds() -> None:
    rounds = Rounds({"as given": 3.0, "hoisted": 2.0, "compiled": 1.03, "prepacked": 1.0}, spread=0.01)
    found = rounds.found()
    assert found.fastest == "prepacked"
    assert found.is_sure
    assert rounds.stages[0] == ("as given", "hoisted", "compiled", "prepacked")
    assert all(set(stage) == {"compiled", "prepacked"} for stage in rounds.stages[1:])
    assert found.rounds["as given"] == STAGES[0]
    assert found.ratios["prepacked"].value == pytest.approx(1 / 3, rel=0.02)


def test_of_equally_fast_ways_the_first_is_chosen() -> None:
    slightly = 1 - GOOD_ENOUGH / 2
    rounds = Rounds({"as given": 1.0, "compiled": 0.5, "prepacked": 0.5 * slightly}, spread=0.0)
    assert rounds.found().fastest == "compiled"
    assert Rounds({"as given": 1.0, "compiled": 1.0, "prepacked": 1.0}, spread=0.001).found().fastest == "as given"


def test_a_decision_that_is_not_sure_says_so() -> None:
    rounds = Rounds({"as given": 1.0, "compiled": 0.99}, spread=0.2)
    found = rounds.found()
    assert not found.is_sure
    assert sum(found.rounds.values()) == 2 * sum(STAGES)


def test_the_deadline_ends_the_rounds_but_not_the_first_stage() -> None:
    rounds = Rounds({"as given": 1.0, "compiled": 0.99}, spread=0.2)
    assert rounds.found(deadline=-1.0).rounds == dict.fromkeys(rounds.seconds, STAGES[0])
    rounds = Rounds({"as given": 1.0, "compiled": 0.99}, spread=0.2)
    assert rounds.found(deadline=7.0).rounds == {"as given": 7, "compiled": 7}


@pytest.mark.parametrize("spread", [0.005, 0.03])
def test_the_chosen_way_is_seldom_much_slower_than_the_fastest(spread: float) -> None:
    """With noise that has heavy tails: of 300 choices among four ways, regret is at most 2% in 95%."""
    rng = random.Random(1)
    regrets = []
    for seed in range(300):
        seconds = {name: math.exp(rng.uniform(0.0, 0.2)) for name in ("as given", "hoisted", "compiled", "prepacked")}
        rounds = Rounds(seconds)
        noise = random.Random(seed)
        rounds._rng = noise
        rounds.spread = spread * (3.0 if noise.random() < 0.2 else 1.0)
        regrets.append(seconds[rounds.found().fastest] / min(seconds.values()) - 1)
    assert sum(regret <= 0.02 for regret in regrets) >= 0.95 * len(regrets)
