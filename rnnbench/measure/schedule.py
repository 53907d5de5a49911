"""In which order the arms of a group take their turns."""

import random
from collections.abc import Sequence


def balanced_order(arms: Sequence[str], turns: int, rng: random.Random) -> list[str]:
    """An even number of turns for each arm, in pairs of rounds: a random order, then its mirror image.

    For two arms that is ABBA or BAAB. A drift that is linear over a pair of rounds shifts all arms by the same amount.
    """
    order: list[str] = []
    for _ in range(turns // 2):
        once = rng.sample(arms, len(arms))
        order += once + once[::-1]
    return order
