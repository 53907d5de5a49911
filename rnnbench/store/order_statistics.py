"""What is kept of the calls of a window: some of their times, evenly spaced in rising order."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
MAX_KEPT = 11  # in columns of a frame


def evenly_spaced(ordered: Sequence[T], most: int = MAX_KEPT) -> tuple[T, ...]:
    """Return at most `most` evenly spaced order statistics, including the smallest and the largest."""
    if len(ordered) <= most:
        return tuple(ordered)
    last = len(ordered) - 1
    return tuple(ordered[round(step * last / (most - 1))] for step in range(most))
