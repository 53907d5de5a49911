import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.devices import backend
from rnnbench.harness.turns.schedule import balanced_order, plan_turns, sweeps_in_turn
from rnnbench.store.records import Group
from tests.doubles import workload as small

arms = st.lists(st.text(min_size=1), max_size=6, unique=True)
even = st.integers(0, 4).map(lambda pairs: 2 * pairs)


@given(arms, even, st.integers())
def test_every_arm_takes_just_its_turns_and_a_linear_drift_shifts_all_alike(
    names: list[str], turns: int, seed: int
) -> None:
    order = balanced_order(names, turns, random.Random(seed))
    assert {name: order.count(name) for name in names} == dict.fromkeys(names, turns)
    assert len(order) == turns * len(names)
    assert len({sum(index for index, arm in enumerate(order) if arm == name) for name in names}) <= 1


@pytest.mark.parametrize(("longest", "is_warm"), [(0.0009, False), (0.004, True)])
def test_cases_that_are_compared_begin_their_turns_alike(longest: float, is_warm: bool) -> None:
    """The long one alone would be charged for filling the caches: its ratio was 0.3% too high."""
    plans = plan_turns({"short": 0.0002, "long": longest}, 0.1, backend("cpu").blocks)
    assert {plan.is_warm for plan in plans.values()} == {is_warm}
    assert len({plan.blocks for plan in plans.values()}) == 1


@given(st.lists(st.integers(0, 4), max_size=20))
def test_wherever_groups_in_turn_are_cut_each_sweep_has_its_share(sweeps: list[int]) -> None:
    groups = [Group(small.workload(batch_size=size), (), sweep) for size, sweep in enumerate(sweeps, 1)]
    order = sweeps_in_turn(groups)
    assert sorted(group.workload.batch_size for group in order) == list(range(1, len(sweeps) + 1))
    for cut in range(len(order)):
        done, whole = Counter(group.sweep for group in order[:cut]), Counter(sweeps)
        unfinished = [done[sweep] for sweep in whole if done[sweep] < whole[sweep]]
        assert max(done.values(), default=0) <= min(unfinished, default=0) + 1
    for sweep in set(sweeps):  # the order within a sweep does not change
        sizes = [group.workload.batch_size for group in order if group.sweep == sweep]
        assert sizes == sorted(sizes)
