"""The turns of a visit: how long they are, and in which order the cases take them; the order of a run's groups."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rnnbench.harness.devices import Blocks
from rnnbench.store.records import Group

Item = TypeVar("Item")
MAX_BLOCK_SECONDS = 0.01  # of calls that are clocked together, however long the slowest case's call takes
WARM_CALL_SECONDS = 1e-3  # a call this long fills the caches itself: no unclocked call comes before it
MAX_CALLS = 1_000_000
NANOSECOND = 1e-9


@dataclass(frozen=True)
class Turns:
    """How a case takes turns in a visit: in each turn, `blocks` of `calls` calls are clocked, each block by itself."""

    turns: int  # even
    blocks: int
    calls: int
    is_warm: bool  # no unclocked call comes first


def plan_turns(
    call_seconds: Mapping[Item, float], case_seconds: float, pace: Blocks, *, single_calls: bool = False
) -> dict[Item, Turns]:
    """Plan the turns of cases that are compared with each other; `case_seconds` is the time for all turns of a case.

    `call_seconds` is the time of one call of each case, with a flush of the caches where one comes before it. All cases
    have equally many blocks of about the same length, that of the slowest case's call: short blocks see each state of a
    machine and long ones their average, so blocks of unlike length can't be compared. A block is no longer than that,
    since an interruption spoils a whole block. With `single_calls`, each block is one call.

    All begin their turns alike, with an unclocked call or without one: if only the short ones had one, a long case
    would be charged alone for filling the caches, some 0.3% of its time.
    """
    longest = max(call_seconds.values())
    block = longest if single_calls else min(longest, MAX_BLOCK_SECONDS)
    if not single_calls and min(call_seconds.values()) < pace.shortest_call:
        block = max(block, pace.seconds)
    blocks = max(1, round(pace.turn_seconds / block)) if block > 0 else 1
    turns = max(2, 2 * round(case_seconds / (2 * blocks * max(block, longest, NANOSECOND))))
    return {
        case: Turns(
            turns=turns,
            blocks=blocks,
            calls=1 if single_calls else min(MAX_CALLS, max(1, round(block / max(seconds, NANOSECOND)))),
            is_warm=longest >= WARM_CALL_SECONDS,
        )
        for case, seconds in call_seconds.items()
    }


def balanced_order(cases: Sequence[Item], turns: int, rng: random.Random) -> list[Item]:
    """An even number of turns for each case, in pairs of rounds: a random order, then its mirror image.

    For two cases, this is ABBA or BAAB. A drift that is linear over a pair of rounds shifts all by the same amount.
    """
    order: list[Item] = []
    for _ in range(turns // 2):
        once = rng.sample(cases, len(cases))
        order += once + once[::-1]
    return order


def sweeps_in_turn(groups: Iterable[Group]) -> list[Group]:
    """The first group of each sweep, then the second, and so on, so that each sweep gets its share of the budget."""
    sweeps: dict[int, list[Group]] = {}
    for group in groups:
        sweeps.setdefault(group.sweep, []).append(group)
    rounds = itertools.zip_longest(*sweeps.values())
    return [group for groups_in_turn in rounds for group in groups_in_turn if group is not None]
