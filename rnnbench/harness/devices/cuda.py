"""An NVIDIA GPU (or AMD's, by torch for ROCm): calls are queued, and marks on the device's own time line time them."""

import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.harness.devices import nvml
from rnnbench.harness.devices.device import Blocks, Call, Clocked
from rnnbench.harness.devices.meters import GpuEnergy
from rnnbench.harness.devices.time_line import Mark, Stream
from rnnbench.store.readings import Readings, Unavailable
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from rnnbench.workloads.phases import TimedCall

LEAD, LEAD_CALLS = 3, 5  # how long the device is held, in times that queueing a call takes; calls for the least time
HISTORY_ENTRIES = 200_000  # the last allocations and releases that are kept; about 100 MB when full


class Cuda:
    """Times calls between events on the stream on which they are queued."""

    product_sizes: tuple[int, ...] = (2048, 4096, 8192)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (20, 22, 24, 25, 26, 28, 30))
    # Events have steps of 0.5 us. Rounded to whole calls, a block takes at least two thirds of `seconds`: 200 us.
    blocks = Blocks(shortest_call=200e-6, seconds=300e-6, turn_seconds=0.01)
    is_shared = False  # each case may need all of its memory
    runs_host_code = False

    def __init__(self, name: str, line: Stream | None = None, now: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self._line = line or Stream(name)
        self._now = now

    @staticmethod
    def why_not(name: str) -> str:
        """Why the device with this name can't be used; empty if it can be used."""
        import torch

        if torch.version.cuda is None and torch.version.hip is None:
            return f"torch {torch.__version__} is built without CUDA and without ROCm"
        if not torch.cuda.is_available():
            return "torch finds no CUDA device or driver"
        count = torch.cuda.device_count()
        if name not in ("cuda", *(f"cuda:{index}" for index in range(count))):
            return f"no device {name!r}: there are cuda:0 to cuda:{count - 1}"
        return ""

    @staticmethod
    def lacks(dtype: DType) -> str:
        """Always empty: every type is supported, though older GPUs compute tf32 with their float32 units."""
        return ""

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """TF32 is on or off for both matrix products and cuDNN."""
        is_tf32 = dtype == "tf32"
        return {"float32 matmul precision": "high" if is_tf32 else "highest", "cuDNN TF32": is_tf32}

    @staticmethod
    def about() -> dict[str, Any]:
        """The versions of `cuda` (or ROCm) and `cudnn` that torch uses.

        Nothing about the GPUs: asking torch for them would start CUDA in every worker, also of a CPU's cases.
        """
        import torch

        # If cuDNN is not the one that torch was built with, cases that need none still run.
        cudnn: Any = torch.backends.cudnn  # untyped in torch
        try:
            version = cudnn.version() if cudnn.is_available() else None
        except RuntimeError as fault:
            version = f"not told: {str(fault).splitlines()[0]}"
        rocm = torch.version.hip and f"ROCm {torch.version.hip}"
        return {"cuda": torch.version.cuda or rocm, "cudnn": version}

    @staticmethod
    def empty_cache() -> None:
        """Return the memory that torch's allocator keeps, and cuBLAS's workspaces, to the driver.

        torch keeps a cuBLAS workspace for each stream that ran a product, and each recording of a graph uses a new
        stream. No recording may be replayed afterwards, since its products use the workspace of its stream.
        """
        import torch

        cuda: Any = torch.cuda  # untyped in torch
        if cuda.is_initialized():
            torch._C._cuda_clearCublasWorkspaces()
            cuda.empty_cache()

    def clock(
        self, call: Call, batches: int, batch: int, *, lead_seconds: float = 0.0, is_warm: bool = False
    ) -> Clocked:
        """Call `batches * batch` times without a pause, timing each batch by the marks around it.

        The unclocked call is made even if `is_warm`: it keeps the device busy while the first clocked call is queued.
        The time between two marks is then the device's time, as long as the host stays ahead of the device. If it does
        not, the device waits between kernels, as it does for a user; `submit_seconds` shows this.
        """
        line, inner = self._line, range(batch)
        marks = self._marks(batches + 1)
        call()
        if lead_seconds:
            line.hold(lead_seconds)
        start = self._now()
        marks[0].record()
        for mark in marks[1:]:
            for _ in inner:
                call()
            mark.record()
        submitted = self._now()
        line.synchronize()
        end = self._now()
        seconds = [before.seconds_until(after) for before, after in itertools.pairwise(marks)]
        return Clocked(seconds, sum(seconds), end - start, submitted - start, 1 + batches * batch)

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one unclocked call, and fill the L2 cache with other data before each call.

        The time of a call is the time between its marks, or the time the host takes to queue it if that is longer: the
        host gets ahead while the device flushes, which it could not do in calls without a pause.
        """
        line, now = self._line, self._now
        seconds, waited = [0.0] * calls, 0.0
        before, after = self._marks(2)
        line.flush()  # the first flush allocates its buffer
        call()
        line.synchronize()
        first = now()
        for index in range(calls):
            line.flush()
            before.record()
            start = now()
            call()
            queued = now()
            after.record()
            line.synchronize()
            waited += now() - queued
            seconds[index] = max(before.seconds_until(after), queued - start)
        whole = now() - first
        return Clocked(seconds, sum(seconds), whole, whole - waited, 1 + calls)

    def _marks(self, count: int) -> list[Mark]:
        """Recorded marks, since the driver creates a mark at its first recording. The device is idle afterwards."""
        marks = [self._line.mark() for _ in range(count)]
        for mark in marks:
            mark.record()
        self._line.synchronize()
        return marks

    def synchronize(self) -> None:
        """Wait for all queued work; raises its error, after which no CUDA call of this process works."""
        self._line.synchronize()

    def clock_mhz(self) -> float | None:
        """None: NVML calls take time, so the coordinator makes them around replicates and not in a window."""
        return None

    def uuid(self) -> str:
        """The UUID of the GPU in torch's format, without the "GPU-" prefix that NVML adds."""
        import torch

        return str(torch.cuda.get_device_properties(torch.device(self.name)).uuid)

    def model(self) -> str:
        """The name that the driver gives the card."""
        import torch

        return str(torch.cuda.get_device_properties(torch.device(self.name)).name)

    def memory_bytes(self) -> int | None:
        """The total memory of the card in bytes."""
        import torch

        return int(torch.cuda.get_device_properties(self.name).total_memory)

    def memory(self, timed: "TimedCall") -> Readings:
        """`reserved_bytes` of a call, and `process_bytes`, read while the allocator holds only what the call needs.

        `process_bytes` also includes the CUDA context, loaded libraries, and the case's models and inputs. Beside them
        `device_seconds`, which like these only the device can tell.
        """
        return Readings.of(
            {
                "reserved_bytes": lambda: self.reserved_bytes(timed),
                "process_bytes": self._process_bytes,
                "device_seconds": lambda: self.device_seconds(timed),
            }
        )

    def device_seconds(self, timed: "TimedCall") -> float:
        """The least time of a call on the device if the host has queued all of it before; raises Unavailable.

        The device is held while the host queues the call. The queue takes some thousand launches: the host waits before
        it can queue more, until the device is free.
        """
        with timed.mode():
            submit = self.clock(timed.call, LEAD_CALLS, 1).submit_seconds / LEAD_CALLS
            clocked = [self.clock(timed.call, 1, 1, lead_seconds=LEAD * submit) for _ in range(LEAD_CALLS)]
        if all(each.submit_seconds > LEAD * submit for each in clocked):
            raise Unavailable("its kernels do not fit into the device's queue, so the device waits for the host")
        return min(each.seconds for each in clocked if each.submit_seconds <= LEAD * submit)

    def _process_bytes(self) -> int:
        """The memory of this process according to the driver; raises Unavailable."""
        used = nvml.open_gpu(self.uuid()).processes().get(os.getpid(), 0)
        if not used:  # even a bare CUDA context takes memory
            raise Unavailable("NVML tells no memory of this process (in a container process ids differ)")
        return used

    def reserved_bytes(self, timed: "TimedCall") -> int:
        """Bytes that torch's caching allocator requests from the driver for one call, starting from an empty cache.

        A recorded graph allocates its memory at recording time and keeps it between calls.
        """
        import torch

        device = torch.device(self.name)
        recorded = 0 if timed.pool is None else _pool_bytes(timed.pool)
        with timed.mode():
            timed.call()
            self.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_reserved(device)
            timed.call()
            self.synchronize()
            return recorded + torch.cuda.max_memory_reserved(device) - before

    def meter(self) -> GpuEnergy:
        """The GPU's energy counter; raises Unavailable."""
        meter = GpuEnergy(nvml.open_gpu(self.uuid()))
        meter.read()
        return meter

    def launch(self) -> Call:
        """A call that queues a kernel that does nothing."""
        import torch

        spin: Any = torch.cuda._sleep  # untyped in torch
        return partial(spin, 0)

    def snapshot(self, timed: "TimedCall", file: Path) -> None:
        """Write the caching allocator's history of one call, with the Python and C++ stack of each memory block."""
        import torch

        memory: Any = torch.cuda.memory  # untyped in torch
        with timed.mode():
            timed.call()
            self.synchronize()
            memory._record_memory_history(max_entries=HISTORY_ENTRIES)
            try:
                timed.call()
                self.synchronize()
                memory._dump_snapshot(str(file))
            finally:
                memory._record_memory_history(enabled=None)


def _pool_bytes(pool: tuple[int, int]) -> int:
    """Bytes in the memory pool of a recorded graph; raises Unavailable."""
    import torch

    snapshot: Any = torch.cuda.memory_snapshot  # untyped in torch
    segments = [segment["total_size"] for segment in snapshot() if tuple(segment["segment_pool_id"]) == tuple(pool)]
    if not segments:
        raise Unavailable("torch's allocator does not list the pool of this recording")
    return sum(segments)
