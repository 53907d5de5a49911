"""The order of turns for the arms of a group, and for the groups of several sweeps."""

import itertools
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rnnbench.store.records import Group

Item = TypeVar("Item")


def balanced_order(arms: Sequence[Item], turns: int, rng: random.Random) -> list[Item]:
    """An even number of turns for each arm, in pairs of rounds: a random order, then its mirror image.

    For two arms, this is ABBA or BAAB. A drift that is linear over a pair of rounds shifts all arms by the same amount.
    """
    order: list[Item] = []
    for _ in range(turns // 2):
        once = rng.sample(arms, len(arms))
        order += once + once[::-1]
    return order


def sweeps_in_turn(groups: Iterable[Group]) -> list[Group]:
    """The first group of each sweep, then the second, and so on, so that each sweep gets its share of the budget."""
    sweeps: dict[int, list[Group]] = {}
    for group in groups:
        sweeps.setdefault(group.sweep, []).append(group)
    rounds = itertools.zip_longest(*sweeps.values())
    return [group for groups_in_turn in rounds for group in groups_in_turn if group is not None]
