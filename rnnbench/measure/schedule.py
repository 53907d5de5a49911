"""In which order the arms of a group take their turns."""

import random
from collections.abc import Mapping


def balanced_order(windows: Mapping[str, int], rng: random.Random) -> list[str]:
    """Turns in pairs of rounds, each a random order and then its mirror image (ABBA or BAAB for two arms).

    `windows` gives each arm's even number of turns. A drift that is linear over a pair of rounds shifts all arms of
    the pair by the same amount; an arm with fewer turns leaves after its last pair.
    """
    order: list[str] = []
    for pair in range(max(windows.values(), default=0) // 2):
        arms = [arm for arm, count in windows.items() if count >= 2 * (pair + 1)]
        rng.shuffle(arms)
        order += arms + arms[::-1]
    return order
