"""The times of calls on a device, and how short calls are timed together."""

from collections.abc import Callable
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Clocked:
    """The times of back-to-back calls on a device."""

    batch_seconds: list[float]  # of each batch, by the device's clock
    seconds: float  # from the first clocked call to the end of the last, by the device's clock; flushes don't count
    host_seconds: float  # the same span by the host's clock; flushes count
    submit_seconds: float  # the part of `host_seconds` in which the host did not wait; on a CPU, all of it
    calls: int  # calls made: the clocked ones, and those before them


@dataclass(frozen=True)
class Blocks:
    """How short calls are timed together on a device, so that the resolution of its clock matters little."""

    shortest_call: float  # seconds; a shorter call is not timed alone
    seconds: float  # how long such calls take together
    turn_seconds: float  # of a case in a visit: short, since a shared machine changes its speed every tenth of a second
