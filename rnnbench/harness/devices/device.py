"""What a device must do to be measured on, the times of calls on it, and counters of energy."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnbench.harness.machine.cores import measuring_choices
from rnnbench.store.metrics import Readings, Unavailable
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from rnnbench.workloads.phases import TimedCall

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
    clock_hertz: float | None = None  # the rate of the device's clock after them; None if it can't be measured
    is_queued_ahead: bool = False  # a device that was held had not begun when the last call was queued


@dataclass(frozen=True)
class Blocks:
    """How short calls are timed together on a device, so that the resolution of its clock matters little."""

    shortest_call: float  # seconds; a shorter call is not timed alone
    seconds: float  # how long such calls take together
    turn_seconds: float  # of a case in a visit: short, since a shared machine changes its speed every tenth of a second


@dataclass
class Meter:
    """Energy counters: the difference between readings before and after a window is the energy of the window."""

    least_seconds: float  # of a window
    read: Callable[[], Counters]
    ranges: Mapping[str, float] = field(default_factory=dict)  # joules after which a counter starts over
    load_seconds: float = 0.0  # of calls before a window, until the device takes what it takes under load

    def joules(self, before: Counters, after: Counters) -> float:
        """Return the sum over all counters, each of which may have started over once; raises Unavailable."""
        total = 0.0
        for name, end in after.items():
            grown = end - before[name]
            limit = self.ranges.get(name, 0.0)
            if grown < 0 and grown + limit < limit / 2:  # a window takes only a small part of the range
                grown += limit
            if grown <= 0:  # a running device always takes energy
                raise Unavailable(f"the energy counter {name} did not move, or went back")
            total += grown
        return total


class Device(ABC):
    """A device on which calls are timed, by the name that torch has for it.

    What a device can do beyond the abstract methods is optional: a GPU has events, a queue that can be held, graphs and
    a counter of energy, and the methods here say that another one has none.
    """

    product_sizes: tuple[int, ...]  # of square products that reach its best rate
    copy_bytes: tuple[int, ...]  # of copies within its memory, from its caches' sizes on
    blocks: Blocks
    is_shared: bool  # whether workers may observe cases on it at once
    is_forkable: bool  # whether a worker may use it that was forked from a process which has only imported torch
    runs_host_code: bool  # whether it is the processor that runs Python
    has_queue: bool = False  # whether its queue can be held (`hold`) while calls are added
    lacks: Mapping[DType, str] = {}  # types that it can't compute with, each with the reason
    name: str
    uuid: str | None = None  # by its driver; None if it has no identifier
    model: str = ""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Return the memory that a process may use on the device."""

    @staticmethod
    @abstractmethod
    def why_not(name: str) -> str:
        """Return why the device with this name can't be used, as a clause; empty if it can be used."""

    @staticmethod
    def why_not_here(name: str) -> str:
        """Return why no worker of this process can find the device, as far as that is known without torch."""
        return ""

    @staticmethod
    def is_listed(name: str) -> bool:
        """Return True if the driver lists the device, as far as that is known without torch."""
        return False

    @staticmethod
    def why_no_pair(name: str) -> str:
        """Return why two processes can't use the device at once, as a clause; empty if they can, or it is unknown."""
        return ""

    @staticmethod
    def shared_memory(name: str) -> str:
        """Say how much memory two processes have that use the device at once; empty if it is unknown."""
        return ""

    @staticmethod
    def core_choices(name: str, number: int) -> list[list[int]]:
        """Return the sets of cores on which calls by so many threads of torch may be timed, of equal use."""
        return measuring_choices(number)

    @staticmethod
    @abstractmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """Return the settings of torch, by name, with which a type is computed on this kind of device."""

    @staticmethod
    def about() -> dict[str, Any]:
        """Return the versions of libraries that torch uses on this kind of device, without starting one."""
        return {}

    @staticmethod
    def empty_cache() -> None:
        """Return the memory that torch's allocator keeps to the driver, if it keeps any."""
        return

    @abstractmethod
    def clock(
        self,
        call: Call,
        batches: int,
        batch: int,
        *,
        lead_seconds: float = 0.0,
        is_warm: bool = False,
        counts_waits: bool = False,
        pulse: Callable[[], float] | None = None,
    ) -> Clocked:
        """Call `batches * batch` times and time each batch; returns when the device is done."""

    @abstractmethod
    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one unclocked call, and flush the caches before each call."""

    @abstractmethod
    def flush(self) -> None:
        """Fill the device's caches with other data."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device is done with all calls; raises its error."""

    def hold(self, seconds: float) -> None:
        """Keep the device busy for at least so long, while calls are queued. Only with `has_queue`."""
        raise NotImplementedError(f"{self.name} can't be held")

    def clock_hertz(self) -> float | None:
        """Return the rate of the device's clock now; None if it can't be measured."""
        return None

    def range(self, name: str) -> AbstractContextManager[object]:
        """Show what happens meanwhile under this name in the profilers of the device's vendor."""
        return nullcontext()

    @abstractmethod
    def memory(self, timed: "TimedCall") -> Readings:
        """Return the metrics that only the device can tell of a call."""

    def meter(self) -> Meter:
        """Return the counters of the device's energy; raises Unavailable."""
        raise Unavailable(f"{self.name} has no counter of energy that rnnbench can read")
