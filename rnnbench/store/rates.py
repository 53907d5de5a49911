"""A best rate of a machine, with its own spread."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Rate:
    """The best of several passes that are apart in time; noise on a shared machine only lowers a rate."""

    value: float  # per second: the best pass
    spread: float = 0.0  # the best pass over the slowest pass, less one

    def joined(self, other: Self) -> Self:
        """The rate of the passes of both."""
        best = max(self.value, other.value)
        slowest = min(rate.value / (1 + rate.spread) for rate in (self, other))
        return type(self)(best, best / slowest - 1)
