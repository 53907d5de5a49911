"""Any other device of torch, by `torch.accelerator`: Intel's (xpu), Apple's (mps), and those of torch's extensions.

The host's clock times calls, from one moment at which the device is idle to the next one. There are no events: those of
Apple's devices hang, or run backwards. So each block holds the time that the host takes to notice its end, some tens of
microseconds, and blocks are long. Nothing of this has run on such a device yet.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from rnnbench.harness.devices.device import Blocks, Call, Clocked, Device
from rnnbench.harness.machine.cores import measuring_cores
from rnnbench.store.metrics import Readings, Unavailable
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from torch import Tensor

    from rnnbench.workloads.phases import TimedCall

BUFFER_BYTES = 256 << 20  # torch does not tell the size of caches; no accelerator has larger ones
UNKNOWN_MEMORY_BYTES = 1 << 62  # of its memory, if torch does not tell: nothing is refused for its size
HOST_THREADS = 1  # beside those of torch: autograd's own


class Accelerator(Device):
    """The device that torch calls the current accelerator."""

    product_sizes: tuple[int, ...] = (1024, 2048, 4096)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (20, 22, 24, 26, 28))
    blocks = Blocks(shortest_call=5e-3, seconds=5e-3, turn_seconds=0.02)  # 1% for 50 us of waiting
    is_shared = False
    is_forkable = False  # nobody has tried it
    runs_host_code = False
    has_known_clock = False
    lacks: Mapping[DType, str] = {"tf32": "tf32 is a way of CUDA's matrix units"}
    is_open = False  # in this process

    def __init__(self, name: str, now: Callable[[], float] = time.perf_counter) -> None:
        Accelerator.is_open = True
        self.name = name
        self._now = now
        self.model = name.partition(":")[0]
        self._accelerator.set_device_index(int(name.partition(":")[2] or 0))

    @staticmethod
    def why_not(name: str) -> str:
        """Return why the device with this name can't be used; empty if it can be used."""
        import torch

        kind = name.partition(":")[0]
        count = torch.accelerator.device_count()
        current = torch.accelerator.current_accelerator() if count else None
        if current is None or current.type != kind:
            return f"torch {torch.__version__} finds no device of the kind {kind!r}"
        if name not in (kind, *(f"{kind}:{index}" for index in range(count))):
            return f"no device {name!r}: there are {kind}:0 to {kind}:{count - 1}"
        return ""

    @staticmethod
    def core_choices(name: str, number: int) -> list[list[int]]:
        """Return the cores for so many threads of torch, and one for autograd's."""
        return [measuring_cores(number + HOST_THREADS)]

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """Return the settings for full precision of products."""
        return {"float32 matmul precision": "highest"}

    @staticmethod
    def empty_cache() -> None:
        """Return the memory that torch's allocator keeps to the driver."""
        import torch

        accelerator: Any = torch.accelerator
        if Accelerator.is_open and hasattr(accelerator, "empty_cache"):
            accelerator.empty_cache()

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
        """Call `batches * batch` times, after one unclocked call unless `is_warm`; the device is idle between batches.

        There is no queue to hold, and pulses would show the state of the host's core: the last arguments are ignored.
        """
        if not is_warm:
            call()
        return self._clocked(call, batches, batch, not is_warm)

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one unclocked call, and fill the caches with other data before each call."""
        self.flush()  # the first flush allocates its buffer
        call()
        return self._clocked(call, calls, 1, 1, before=self.flush)

    def _clocked(
        self, call: Call, batches: int, batch: int, unclocked: int, before: Callable[[], object] | None = None
    ) -> Clocked:
        """Clock batches of calls from an idle device to an idle one; `before` each, do what is not clocked."""
        now = self._now
        inner = range(batch)
        seconds = [0.0] * batches
        waited = 0.0
        self.synchronize()
        first = now()
        for index in range(batches):
            if before is not None:
                before()
                self.synchronize()
            start = now()
            for _ in inner:
                call()
            queued = now()
            self.synchronize()
            end = now()
            seconds[index] = end - start
            waited += end - queued
        whole = end - first
        return Clocked(seconds, sum(seconds), whole, whole - waited, unclocked + batches * batch)

    def flush(self) -> None:
        """Queue work that empties the caches: write a buffer that is larger than they are."""
        _buffer(self.name).zero_()

    def synchronize(self) -> None:
        """Wait for all queued work; raises its error."""
        self._accelerator.synchronize()

    def memory(self, timed: "TimedCall") -> Readings:
        """Return the `reserved_bytes` of a call, if torch's allocator of this device tells them."""
        return Readings.of({"reserved_bytes": lambda: self.reserved_bytes(timed)})

    def reserved_bytes(self, timed: "TimedCall") -> int:
        """Return the bytes that torch's allocator requests for one call, from an empty cache; raises Unavailable."""
        accelerator = self._accelerator
        try:
            accelerator.memory_reserved()
        except (AttributeError, NotImplementedError, RuntimeError) as fault:  # of torch before 2.9, or of this device
            raise Unavailable(f"torch does not tell the memory of {self.name}: {fault}") from fault
        with timed.mode():
            timed.call()
            self.synchronize()
            accelerator.empty_cache()
            accelerator.reset_peak_memory_stats()
            before = accelerator.memory_reserved()
            timed.call()
            self.synchronize()
            return int(accelerator.max_memory_reserved() - before)

    @property
    def memory_bytes(self) -> int:
        """Return the memory of the device; a number that no case reaches if torch does not tell it."""
        try:
            return int(self._accelerator.get_memory_info()[1])
        except (AttributeError, NotImplementedError, RuntimeError):
            return UNKNOWN_MEMORY_BYTES

    @property
    def _accelerator(self) -> Any:  # partly untyped in torch
        import torch

        return torch.accelerator


@cache
def _buffer(name: str) -> "Tensor":
    """Return a buffer that lives as long as the process; not an inference tensor: every mode can write to it."""
    import torch

    with torch.inference_mode(False):
        return torch.empty(BUFFER_BYTES, dtype=torch.uint8, device=name)
