"""The interface of a device, and of its class before a device is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rnnbench.harness.devices.meters import Meter
from rnnbench.store.readings import Readings
from rnnbench.store.records import DType

if TYPE_CHECKING:  # that module imports torch, and this package must not
    from rnnbench.workloads.phases import TimedCall

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


@dataclass(frozen=True)
class Card:
    """One of the devices that a name stands for."""

    name: str = ""  # its model
    uuid: str | None = None  # the driver's identifier; None if there is only one
    variables: Mapping[str, str] = field(default_factory=dict)  # environment of a worker that must see only this card


class Device(Protocol):
    """Times calls, and does everything else that differs from device to device."""

    name: str
    product_sizes: tuple[int, ...]  # of square matrix products, in rising order; one of them reaches the best rate
    copy_bytes: tuple[int, ...]  # bytes read plus written: one size for each cache level, and one larger than all
    blocks: Blocks
    runs_host_code: bool  # whether machine code of the host runs on it

    def clock(
        self, call: Call, batches: int, batch: int, *, lead_seconds: float = 0.0, is_warm: bool = False
    ) -> Clocked:
        """Call `batches * batch` times without a pause, timing each batch.

        An unclocked call comes first: the caches still hold other data, and filling them makes a call slower, by more
        than a tenth if it works on megabytes. Callers don't need to make such a call themselves. `is_warm`: the caches
        hold the data of this call, which was made just before, so a processor needs no unclocked call. `lead_seconds`:
        keep a device that has a queue busy for that long before the calls, so that they wait in its queue and the
        device never waits for the host.
        """
        ...

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Time each of `calls` calls, after an unclocked one; before each, other data fills the last-level cache."""
        ...

    def synchronize(self) -> None:
        """Wait until all submitted work is done; raises any error in that work."""
        ...

    def clock_mhz(self) -> float | None:
        """The current clock rate; None if the system does not report it."""
        ...

    def uuid(self) -> str | None:
        """The driver's identifier of the device; None if there is only one."""
        ...

    def cards(self) -> list[Card]:
        """The cards that can share the cases of this device name, the device itself first; at least one."""
        ...

    def memory_bytes(self) -> int | None:
        """All the memory that a case may use; None if the system does not report it."""
        ...

    def memory(self, timed: "TimedCall") -> Readings:
        """Memory of one call, and of this process, as only the system or the driver can report it."""
        ...

    def meter(self) -> Meter:
        """The device's energy counter, read once to prove that it works; raises Unavailable."""
        ...

    def launch(self) -> Call | None:
        """A call that queues a kernel that does nothing; None if the device launches no kernels."""
        ...

    def snapshot(self, timed: "TimedCall", file: Path) -> bool:
        """Write the allocator's history of one call, for pytorch.org/memory_viz; False if it keeps none."""
        ...


class Monitor(Protocol):
    """The state that a device reports while it works."""

    @property
    def spoiling(self) -> frozenset[str]:
        """The `throttle_reasons` that, when a sample has one of them, mean that windows do not count."""
        ...

    def sample(self) -> Readings:
        """Take the readings that change over time."""
        ...


class Backend(Protocol):
    """A class of devices. All but `why_not` and `about` are for the coordinator and work without torch."""

    @property
    def blocks(self) -> Blocks:
        """How short calls are timed on such a device."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether several workers may observe cases on such a device at once."""
        ...

    def __call__(self, name: str) -> Device:
        """Open the device with this name, for which `why_not` must be empty."""
        ...

    def why_not(self, name: str) -> str:
        """Why the device with this name can't be used on this machine, as a clause; empty if it can be used."""
        ...

    def lacks(self, dtype: DType) -> str:
        """Why the devices do not support a type; empty if they do."""
        ...

    def settings(self, dtype: DType) -> dict[str, Any]:
        """The values of `torch_state.SETTINGS` that a case of this type needs."""
        ...

    def about(self) -> dict[str, Any]:
        """What torch was built with for such devices, and which devices it sees."""
        ...

    def described(self) -> dict[str, Any]:
        """The driver's description of such devices, for the environment of a run."""
        ...

    def empty_cache(self) -> None:
        """Release the memory that torch keeps for later calls on such devices."""
        ...

    def current_readings(self) -> dict[str, Any]:
        """`described`, plus the readings that change over time."""
        ...

    def monitor(self, uuid: str) -> Monitor | None:
        """The object that samples a device; None if there is none."""
        ...
