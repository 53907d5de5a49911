"""The search for the fastest case, with times that the test sets: what is left out, when it ends, what it chooses."""

import math
import random
from collections.abc import Mapping

import pytest

from rnnbench.harness.live.stops import Fastest
from tests.analysis.test_quiet_rounds import round_of
from tests.doubles.stored import steady


def decided(
    seconds: Mapping[str, float], spread: float = 0.0, most: int = 1000, seed: int = 0
) -> tuple[Fastest, list[int]]:
    """What is known after at most so many replicates, with noise that all ways share and noise of their own."""
    stop, rng = Fastest(list(seconds)), random.Random(seed)
    for _ in range(most):
        wanted, to_come = stop.wanted()
        if not to_come:
            break
        shared = math.exp(rng.gauss(0.0, 0.3))
        stop.add({name: steady(seconds[name] * shared * math.exp(rng.gauss(0.0, spread))) for name in wanted}, 1.0)
    return stop, [len(times) for times in stop.times.values()]


def chosen(quiet: Mapping[str, float], shared: Mapping[str, float], blocks: Mapping[str, int]) -> Fastest:
    """What is known of ways that take so many seconds in quiet blocks, and others in the median of all blocks."""
    stop, rng = Fastest(list(quiet)), random.Random(0)
    while stop.wanted()[1]:
        noise = {name: math.exp(rng.gauss(0.0, 0.002)) for name in stop.candidates}
        stop.add(
            {
                name: round_of(quiet[name] * noise[name], shared[name] * noise[name], blocks[name])
                for name in stop.candidates
            },
            1.0,
        )
    return stop


def test_ways_are_compared_by_their_quiet_blocks_if_all_that_may_be_the_fastest_have_some() -> None:
    """On a shared core `compiled` is slower than `hoisted`, and on a quiet one it is faster."""
    quiet = {"as given": 3.0, "hoisted": 2.0, "compiled": 1.5}
    shared = {"as given": 6.0, "hoisted": 3.0, "compiled": 4.0}
    stop = chosen(quiet, shared, dict.fromkeys(quiet, 20))
    assert stop.fastest() == "compiled"
    told = stop.told("compiled", "as given")
    assert told.state == "undisturbed"
    assert told.seconds == pytest.approx(1.5, rel=0.01)
    assert math.exp(told.log_ratio.value) == pytest.approx(0.5, rel=0.01)
    stop = chosen(quiet, shared, {"as given": 20, "hoisted": 20, "compiled": 0})
    assert stop.fastest() == "hoisted"
    assert stop.told("compiled", "as given").state == "on a shared core"
    shared["as given"] = 9.0
    stop = chosen(quiet, shared, {"as given": 0, "hoisted": 20, "compiled": 20})
    assert stop.fastest() == "compiled"  # after `as given`, which is much slower, was left out by all blocks
    assert stop.candidates == ["compiled"]


def test_ways_that_are_surely_slower_are_left_out_of_later_rounds() -> None:
    stop, made = decided({"as given": 3.0, "hoisted": 2.0, "compiled": 1.015, "prepacked": 1.0}, spread=0.02)
    assert stop.fastest() == "prepacked"
    assert stop.is_sure
    assert made[:2] == [4, 4]
    assert made[2] == made[3] > 4
    assert stop.log_ratio("prepacked", "as given").value == pytest.approx(math.log(1 / 3), abs=0.02)


def test_of_equally_fast_ways_the_first_is_chosen() -> None:
    for faster, way in ((0.005, "compiled"), (0.015, "prepacked")):
        seconds = {"as given": 1.0, "compiled": 0.5, "prepacked": 0.5 * (1 - faster)}
        assert decided(seconds, spread=1e-4)[0].fastest() == way
    equal = {"as given": 1.0, "compiled": 1.0, "prepacked": 1.0}
    assert decided(equal, spread=0.001)[0].fastest() == "as given"


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_decision_that_is_not_sure_says_so(most: int) -> None:
    stop, made = decided({"as given": 1.0, "compiled": 0.99}, spread=0.2, most=most, seed=1)
    assert not stop.is_sure
    assert made == [min(most, 40)] * 2


@pytest.mark.parametrize(("seconds", "chosen"), [(0.97, "as given"), (0.3, "compiled")])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_after_few_rounds_another_way_is_chosen_only_if_it_is_clearly_faster(
    seconds: float, chosen: str, most: int
) -> None:
    stop, _ = decided({"as given": 1.0, "compiled": seconds}, spread=0.02, most=most, seed=1)
    assert stop.fastest() == chosen


def test_rounds_come_in_stages_of_4_10_20_and_40_and_none_come_after_an_answer_that_is_sure() -> None:
    alike, apart = Fastest(["one", "two"]), Fastest(["one", "two"])
    wanted = []
    for number in range(40):
        wanted.append(alike.wanted()[1])
        alike.add({"one": steady(1.0), "two": steady(math.exp(0.3 * (-1) ** number))}, 1.0)
        if number < 4:
            apart.add({"one": steady(1.0 + 0.001 * number), "two": steady(2.0)}, 1.0)
    assert wanted == [4, 3, 2, 1, *range(6, 0, -1), *range(10, 0, -1), *range(20, 0, -1)]
    assert (alike.wanted(), apart.wanted()) == ((["one", "two"], 0), (["one"], 0))


def test_another_case_must_be_no_slower_than_the_first_for_sure_or_very_much_faster() -> None:
    """A single round shows no spread, and the first is never surely slower here."""
    for second, chosen in (
        ((0.9, 1.3, 0.8), "first"),
        ((0.9,), "first"),
        ((0.7,), "second"),
        ((0.951, 0.961, 0.970), "second"),
    ):
        stop = Fastest(["first", "second"])
        for seconds in second:
            stop.add({"first": steady(1.0), "second": steady(seconds)}, 1.0)
        assert (stop.fastest(), stop.candidates) == (chosen, ["first", "second"])
