"""What is asked of a device, and of its class before one is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rnnbench.harness.devices.meters import Meter
from rnnbench.store.readings import Readings
from rnnbench.store.records import DType

if TYPE_CHECKING:  # it imports torch, and this package does not
    from rnnbench.workloads.phases import TimedCall

Call = Callable[[], object]


@dataclass(frozen=True)
class Clocked:
    """What a device saw of back-to-back calls."""

    batch_seconds: list[float]  # of each batch, by the device's clock
    seconds: float  # from the first clocked call to the end of the last, by the device's clock; flushes don't count
    host_seconds: float  # the same by the host's clock; flushes count
    submit_seconds: float  # of these, those in which the host did not wait; on a CPU, which does the work, all of them
    calls: int  # that were made: the clocked ones, and those before them


@dataclass(frozen=True)
class Blocks:
    """How short calls are clocked together on a device, so that the steps of its clock are small beside them."""

    shortest_call: float  # seconds; a shorter call is not clocked alone
    seconds: float  # that such calls take together


@dataclass(frozen=True)
class Card:
    """One of the devices that a name stands for."""

    name: str = ""  # its model
    uuid: str | None = None  # what the driver knows it by; None where there is but one
    variables: Mapping[str, str] = field(default_factory=dict)  # of a worker's environment, so that it sees no other


class Device(Protocol):
    """Times calls; everything else that differs from device to device."""

    name: str
    product_sizes: tuple[int, ...]  # of the square matrix products of which one is its fastest, in rising order
    copy_bytes: tuple[int, ...]  # read and written together: what fits each level of cache, and what fits none
    blocks: Blocks

    def clock(self, call: Call, batches: int, batch: int, *, lead_seconds: float = 0.0) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch.

        One call that is not clocked comes first: the caches are full of what was worked on before, and filling them
        again makes a call slower, by more than a tenth where it works on megabytes. Nobody else needs to make one.
        `lead_seconds`: keep a device that is given work busy for so long before the calls, so that they wait in its
        queue and it never waits for the host.
        """
        ...

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one that is not clocked, clocking each, with other data in the last-level cache."""
        ...

    def synchronize(self) -> None:
        """Wait until all that was asked of it is done; raises what went wrong in it."""
        ...

    def clock_mhz(self) -> float | None:
        """The clock rate of the moment; None where the system does not tell."""
        ...

    def uuid(self) -> str | None:
        """What the driver knows the device by; None where there is but one."""
        ...

    def cards(self) -> list[Card]:
        """Those over which the cases of its name can be spread, the device itself first; at least one."""
        ...

    def memory_bytes(self) -> int | None:
        """All the memory that a case may have; None where the system does not tell."""
        ...

    def memory(self, timed: "TimedCall") -> Readings:
        """Memory of one call, and of this process, that only the system or the driver knows."""
        ...

    def meter(self) -> Meter:
        """Its counter of energy, once it has answered; raises Unavailable."""
        ...

    def launch(self) -> Call | None:
        """Queues a kernel that does nothing; None where there are no kernels to launch."""
        ...

    def snapshot(self, timed: "TimedCall", file: Path) -> bool:
        """Write its allocator's history of one call, for pytorch.org/memory_viz; False where it keeps none."""
        ...


class Monitor(Protocol):
    """What a device says of itself while it works."""

    @property
    def spoiling(self) -> frozenset[str]:
        """Those of the `throttle_reasons` in its samples under which windows do not count."""
        ...

    def sample(self) -> Readings:
        """What changes from moment to moment."""
        ...


class Backend(Protocol):
    """A class of devices. All but `why_not` and `about` are for the coordinator, and work without torch."""

    @property
    def blocks(self) -> Blocks:
        """How short calls are clocked on such a device."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether several workers at once may observe cases on such a device."""
        ...

    def __call__(self, name: str) -> Device:
        """The device of a name for which `why_not` is empty."""
        ...

    def why_not(self, name: str) -> str:
        """Why a device of this name can't be used on this machine, in a clause; empty where it can."""
        ...

    def lacks(self, dtype: DType) -> str:
        """Why it can't work in a type; empty where it can."""
        ...

    def settings(self, dtype: DType) -> dict[str, Any]:
        """Those of `torch_state.SETTINGS` that a case of this type wants in a way of its own."""
        ...

    def about(self) -> dict[str, Any]:
        """What torch was built with for such devices, and which it sees."""
        ...

    def described(self) -> dict[str, Any]:
        """What the driver says of such devices, for the environment of a run."""
        ...

    def empty_cache(self) -> None:
        """Give back the memory that torch keeps for later calls on such devices."""
        ...

    def standing(self) -> dict[str, Any]:
        """The same with all that changes from moment to moment."""
        ...

    def monitor(self, uuid: str) -> Monitor | None:
        """What samples a device, if there is something."""
        ...
