"""What the engine asks of a device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rnnbench.store.readings import Readings

Call = Callable[[], object]


@dataclass(frozen=True)
class Clocked:
    """What a device saw of back-to-back calls."""

    batch_seconds: list[float]  # of each batch, by the device's clock
    seconds: float  # from the first call to the end of the last, by the device's clock
    host_seconds: float  # the same by the host's clock
    submit_seconds: float  # until the host had nothing left to submit; on a CPU, which does the work itself, all of it


class Device(Protocol):
    """Times calls; everything else that the engine needs of a device."""

    def clock(self, call: Call, batches: int, batch: int) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch."""
        ...

    def clock_mhz(self) -> float | None:
        """The clock rate of the moment; None where the system does not tell."""
        ...

    def uuid(self) -> str | None:
        """What the driver knows the device by; None where there is but one."""
        ...

    def memory(self) -> Readings:
        """Memory of this process that only the device's driver knows."""
        ...
