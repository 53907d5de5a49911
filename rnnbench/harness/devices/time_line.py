"""The time line of a CUDA device: it passes marks as it works, and its own clock stamps them."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HIGHEST_CLOCK = 3e9  # hertz; a slower device spins for longer
MIN_BUFFER_BYTES = 64 << 20  # if a driver reports no size of the L2 cache


class Mark:
    """A point on the time line: a CUDA event, which the device stamps as it passes it."""

    def __init__(self) -> None:
        import torch

        event_type: Any = torch.cuda.Event  # untyped in torch
        self._event = event_type(enable_timing=True)

    def record(self) -> None:
        """Queue the point on the current stream; the device passes it when all work queued before is done."""
        self._event.record()

    def seconds_until(self, later: "Mark") -> float:
        """Seconds of device time to a later point, in steps of half a microsecond; the device has passed both."""
        milliseconds: float = self._event.elapsed_time(later._event)
        return milliseconds / 1e3


class Stream:
    """The queue of work of a CUDA device: its current stream."""

    def __init__(self, name: str) -> None:
        import torch

        self._device = torch.device("cuda", torch.device(name).index or 0)
        torch.cuda.set_device(self._device)  # it requires an index; everything opened later is on this device

    def mark(self) -> Mark:
        """Create a point, without queueing it."""
        return Mark()

    def hold(self, seconds: float) -> None:
        """Queue a kernel that counts cycles: it keeps the device busy for at least this long and takes no memory."""
        import torch

        spin: Any = torch.cuda._sleep  # untyped in torch
        spin(int(seconds * HIGHEST_CLOCK))

    def flush(self) -> None:
        """Queue work that empties the last-level cache: write a buffer of at least twice its size."""
        _buffer(self._device).zero_()

    def synchronize(self) -> None:
        """Wait until all queued work is done; raises the error of a kernel that failed."""
        import torch

        torch.cuda.synchronize(self._device)


@cache
def _buffer(device: "torch.device") -> "Tensor":
    """A buffer that lives as long as the process; not an inference tensor, so every autograd mode can write to it."""
    import torch

    size = max(2 * torch.cuda.get_device_properties(device).L2_cache_size, MIN_BUFFER_BYTES)
    with torch.inference_mode(False):
        return torch.empty(size, dtype=torch.uint8, device=device)
