"""A best rate of a machine, with its own spread."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """The best of several passes that are apart in time; noise on a shared machine only lowers a rate."""

    value: float  # per second: the best pass
    spread: float  # the best pass over the slowest pass, less one
