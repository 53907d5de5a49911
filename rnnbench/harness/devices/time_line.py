"""The time line of a CUDA device: it passes marks as it works, and its own clock stamps them."""

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HIGHEST_CLOCK = 3e9  # hertz; a slower device spins for longer
MIN_BUFFER_BYTES = 64 << 20  # if a driver reports no size of the L2 cache


class Mark(Protocol):
    """A point on a device's time line; the device passes it when all work queued before it is done."""

    def record(self) -> None:
        """Queue the point."""
        ...

    def seconds_until(self, later: "Mark") -> float:
        """Seconds of device time from this point to a later one; the device must have passed both."""
        ...


class TimeLine(Protocol):
    """A device's queue of work."""

    def mark(self) -> Mark:
        """Create a point, without queueing it."""
        ...

    def hold(self, seconds: float) -> None:
        """Queue work that keeps the device busy for at least this long and takes no memory."""
        ...

    def flush(self) -> None:
        """Queue work that empties the last-level cache."""
        ...

    def synchronize(self) -> None:
        """Wait until all queued work is done; raises any error in that work."""
        ...


class Stream:
    """The current stream of a CUDA device."""

    def __init__(self, name: str) -> None:
        import torch

        self._device = torch.device("cuda", torch.device(name).index or 0)
        torch.cuda.set_device(self._device)  # it requires an index; everything opened later is on this device

    def mark(self) -> "CudaEvent":
        """A CUDA event."""
        return CudaEvent()

    def hold(self, seconds: float) -> None:
        """Queue a kernel that counts cycles."""
        import torch

        spin: Any = torch.cuda._sleep  # untyped in torch
        spin(int(seconds * HIGHEST_CLOCK))

    def flush(self) -> None:
        """Write a buffer of at least twice the size of the L2 cache."""
        _buffer(self._device).zero_()

    def synchronize(self) -> None:
        """Wait for the device; raises the error of a kernel that failed."""
        import torch

        torch.cuda.synchronize(self._device)


@cache
def _buffer(device: "torch.device") -> "Tensor":
    """A buffer that lives as long as the process; not an inference tensor, so every autograd mode can write to it."""
    import torch

    size = max(2 * torch.cuda.get_device_properties(device).L2_cache_size, MIN_BUFFER_BYTES)
    with torch.inference_mode(False):
        return torch.empty(size, dtype=torch.uint8, device=device)


class CudaEvent:
    """A CUDA event, which the device stamps with its own clock as it passes it."""

    def __init__(self) -> None:
        import torch

        event_type: Any = torch.cuda.Event  # untyped in torch
        self._event = event_type(enable_timing=True)

    def record(self) -> None:
        """Queue the event on the current stream."""
        self._event.record()

    def seconds_until(self, later: "Mark") -> float:
        """The difference of the two stamps in seconds, with a resolution of half a microsecond."""
        assert isinstance(later, CudaEvent)
        milliseconds: float = self._event.elapsed_time(later._event)
        return milliseconds / 1e3
