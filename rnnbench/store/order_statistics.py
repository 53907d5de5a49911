"""What is kept of the calls of a window: up to 11 of their times, evenly spaced in rising order."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
MAX_KEPT = 11


def evenly_spaced(ordered: Sequence[T]) -> tuple[T, ...]:
    """Up to 11 evenly spaced order statistics, including the smallest and the largest."""
    if len(ordered) <= MAX_KEPT:
        return tuple(ordered)
    last = len(ordered) - 1
    return tuple(ordered[round(step * last / (MAX_KEPT - 1))] for step in range(MAX_KEPT))
