import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rnnbench.measure.schedule import balanced_order

counts = st.dictionaries(st.text(min_size=1), st.integers(0, 4).map(lambda pairs: 2 * pairs), max_size=6)


@given(counts, st.integers())
def test_every_arm_takes_just_its_turns(windows: dict[str, int], seed: int) -> None:
    order = balanced_order(windows, random.Random(seed))
    assert {arm: order.count(arm) for arm in windows} == windows
    assert len(order) == sum(windows.values())


@given(st.integers(2, 6), st.integers(1, 4), st.integers())
def test_a_linear_drift_shifts_all_arms_alike(arms: int, pairs: int, seed: int) -> None:
    order = balanced_order({str(arm): 2 * pairs for arm in range(arms)}, random.Random(seed))
    drift = [sum(place for place, arm in enumerate(order) if arm == str(name)) for name in range(arms)]
    assert len(set(drift)) == 1


def test_two_arms_take_turns_as_abba_or_baab() -> None:
    orders = {"".join(balanced_order({"A": 2, "B": 2}, random.Random(seed))) for seed in range(50)}
    assert orders == {"ABBA", "BAAB"}


def test_neighbours_differ_except_in_the_middle_of_a_pair_of_rounds() -> None:
    order = balanced_order({"A": 4, "B": 4, "C": 4}, random.Random(1))
    assert sum(left == right for left, right in pairwise(order)) <= 3


def test_no_arms_take_no_turns() -> None:
    assert balanced_order({}, random.Random(0)) == []
