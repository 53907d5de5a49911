"""The time line of a CUDA device: marks that it passes as it works, stamped by its own clock."""

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HIGHEST_CLOCK = 3e9  # hertz; a slower device spins for longer
MIN_BUFFER_BYTES = 64 << 20  # where a driver tells no size of the L2 cache


class Mark(Protocol):
    """A point on a device's time line, that it passes once all that was queued before is done."""

    def record(self) -> None:
        """Queue the point."""
        ...

    def seconds_until(self, later: "Mark") -> float:
        """The device's time from this point to a later one; both have been passed."""
        ...


class TimeLine(Protocol):
    """A device's queue of work."""

    def mark(self) -> Mark:
        """A point that is not queued yet."""
        ...

    def hold(self, seconds: float) -> None:
        """Queue what keeps the device busy for at least so long, and takes no memory."""
        ...

    def flush(self) -> None:
        """Queue what empties the last-level cache."""
        ...

    def synchronize(self) -> None:
        """Wait until all that was queued is done; raises what went wrong in it."""
        ...


class Stream:
    """The current stream of a CUDA device."""

    def __init__(self, name: str) -> None:
        import torch

        self._device = torch.device("cuda", torch.device(name).index or 0)
        torch.cuda.set_device(self._device)  # it takes no device without a number; all that is open is on this one

    def mark(self) -> "CudaEvent":
        """A CUDA event."""
        return CudaEvent()

    def hold(self, seconds: float) -> None:
        """Queue a kernel that counts cycles."""
        import torch

        spin: Any = torch.cuda._sleep  # untyped in torch
        spin(int(seconds * HIGHEST_CLOCK))

    def flush(self) -> None:
        """Write a buffer that the L2 cache can't hold half of."""
        _buffer(self._device).zero_()

    def synchronize(self) -> None:
        """Wait for the device; raises what went wrong in a kernel."""
        import torch

        torch.cuda.synchronize(self._device)


@cache
def _buffer(device: "torch.device") -> "Tensor":
    """Kept for the life of the process; a normal tensor, which may be written to in every mode of autograd."""
    import torch

    size = max(2 * torch.cuda.get_device_properties(device).L2_cache_size, MIN_BUFFER_BYTES)
    with torch.inference_mode(False):
        return torch.empty(size, dtype=torch.uint8, device=device)


class CudaEvent:
    """A CUDA event, which the device stamps by its own clock as it passes."""

    def __init__(self) -> None:
        import torch

        event_type: Any = torch.cuda.Event  # untyped in torch
        self._event = event_type(enable_timing=True)

    def record(self) -> None:
        """Queue it on the current stream."""
        self._event.record()

    def seconds_until(self, later: "Mark") -> float:
        """The stamps' difference, to half a microsecond."""
        assert isinstance(later, CudaEvent)
        milliseconds: float = self._event.elapsed_time(later._event)
        return milliseconds / 1e3
