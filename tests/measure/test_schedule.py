import random

from hypothesis import given
from hypothesis import strategies as st

from rnnbench.measure.schedule import balanced_order

arms = st.lists(st.text(min_size=1), max_size=6, unique=True)
even = st.integers(0, 4).map(lambda pairs: 2 * pairs)


@given(arms, even, st.integers())
def test_every_arm_takes_just_its_turns(names: list[str], turns: int, seed: int) -> None:
    order = balanced_order(names, turns, random.Random(seed))
    assert {name: order.count(name) for name in names} == dict.fromkeys(names, turns)
    assert len(order) == turns * len(names)


@given(arms, even, st.integers())
def test_a_linear_drift_shifts_all_arms_alike(names: list[str], turns: int, seed: int) -> None:
    order = balanced_order(names, turns, random.Random(seed))
    assert len({sum(place for place, arm in enumerate(order) if arm == name) for name in names}) <= 1


def test_two_arms_take_turns_as_abba_or_baab() -> None:
    orders = {"".join(balanced_order(["A", "B"], 2, random.Random(seed))) for seed in range(50)}
    assert orders == {"ABBA", "BAAB"}
