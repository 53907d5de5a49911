"""What both devices share: the times of calls, how short calls are timed together, and counters of energy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rnnbench.store.metrics import Unavailable

Call = Callable[[], object]
Counters = Mapping[str, float]  # counter's name -> joules since its own start


@dataclass(frozen=True)
class Clocked:
    """The times of back-to-back calls on a device."""

    batch_seconds: list[float]  # of each batch, by the device's clock
    seconds: float  # of all clocked calls by the device's clock, without flushes and waits for a core
    host_seconds: float  # from the first of them to the end of the last by the host's clock; all counts
    submit_seconds: float  # the part of `host_seconds` in which the host did not wait; on a CPU, all of it
    calls: int  # calls made: the clocked ones, and those before them
    pulses: list[float] = field(default_factory=list)  # seconds of the pulses around the batches, if some were taken


@dataclass(frozen=True)
class Blocks:
    """How short calls are timed together on a device, so that the resolution of its clock matters little."""

    shortest_call: float  # seconds; a shorter call is not timed alone
    seconds: float  # how long such calls take together
    turn_seconds: float  # of a case in a visit: short, since a shared machine changes its speed every tenth of a second


@dataclass
class Meter:
    """Energy counters: the difference between readings before and after a window is the energy of the window."""

    least_seconds: float  # of a window, since counters step
    read: Callable[[], Counters]
    ranges: Mapping[str, float] = field(default_factory=dict)  # joules after which a counter starts over

    def joules(self, before: Counters, after: Counters) -> float:
        """Return the sum over all counters, each of which may have started over once; raises Unavailable."""
        total = 0.0
        for name, end in after.items():
            grown, limit = end - before[name], self.ranges.get(name, 0.0)
            if grown < 0 and grown + limit < limit / 2:  # a window takes only a small part of the range
                grown += limit
            if grown <= 0:  # a running device always takes energy
                raise Unavailable(f"the energy counter {name} did not move, or went back")
            total += grown
        return total
