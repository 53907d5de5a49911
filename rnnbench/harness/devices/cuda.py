"""An NVIDIA GPU: calls are queued, and marks on the device's own time line clock them."""

import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.harness.devices import nvml
from rnnbench.harness.devices.device import Blocks, Call, Card, Clocked
from rnnbench.harness.devices.meters import GpuEnergy, Meter
from rnnbench.harness.devices.time_line import Mark, Stream, TimeLine
from rnnbench.store.readings import Readings, Unavailable
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from rnnbench.workloads.phases import TimedCall

HISTORY_ENTRIES = 200_000  # blocks that come or go, the last ones; some 100 MB where more come


class Cuda:
    """Clocks calls between events of the stream that they are queued on."""

    product_sizes: tuple[int, ...] = (2048, 4096, 8192)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (20, 22, 24, 25, 26, 28, 30))
    # Events have steps of 0.5 us. Rounded to whole calls, a block takes two thirds of `seconds` or more: 200 us.
    blocks = Blocks(shortest_call=200e-6, seconds=300e-6)
    is_shared = False  # each case may need all of its memory

    def __init__(self, name: str, line: TimeLine | None = None, now: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self._line = line or Stream(name)
        self._now = now

    @staticmethod
    def why_not(name: str) -> str:
        """Why a device of this name can't be used; empty where it can."""
        import torch

        if torch.version.cuda is None:
            return f"torch {torch.__version__} is built without CUDA"
        if not torch.cuda.is_available():
            return "torch finds no CUDA device or driver"
        count = torch.cuda.device_count()
        if name not in ("cuda", *(f"cuda:{index}" for index in range(count))):
            return f"no device {name!r}: there are cuda:0 to cuda:{count - 1}"
        return ""

    @staticmethod
    def lacks(dtype: DType) -> str:
        """Why it can't work in a type: no type is lacking, though older GPUs take float32's units for tf32."""
        return ""

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """TF32 is on or off in products and in cuDNN alike."""
        is_tf32 = dtype == "tf32"
        return {"float32 matmul precision": "high" if is_tf32 else "highest", "cuDNN TF32": is_tf32}

    @staticmethod
    def about() -> dict[str, Any]:
        """`cuda` and `cudnn`, the versions of torch's build, and the names of the `gpus`."""
        import torch

        # Where a GPU was lost or cuDNN is not the one that torch was built with, what needs none goes on.
        cudnn: Any = torch.backends.cudnn  # untyped in torch
        try:
            version = cudnn.version() if cudnn.is_available() else None
        except RuntimeError as fault:
            version = _not_told(fault)
        try:
            gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        except (RuntimeError, AssertionError) as fault:
            gpus = [_not_told(fault)]
        return {"cuda": torch.version.cuda, "cudnn": version, "gpus": gpus}

    @staticmethod
    def described() -> dict[str, Any]:
        """Each GPU as NVML describes it, what it could not tell with the reason; or why NVML says nothing."""
        return _of_gpus(nvml.Gpu.describe)

    @staticmethod
    def standing() -> dict[str, Any]:
        """The same with what changes from moment to moment, and with the processes on each GPU."""
        return _of_gpus(nvml.Gpu.stand)

    @staticmethod
    def empty_cache() -> None:
        """Give the driver what torch's allocator keeps for later calls, with cuBLAS's workspaces.

        torch keeps a workspace for each stream that was multiplied on, and each recording uses two new streams. One
        that was made during a recording lies in the pool of that recording, and would hold on to a part of it.
        """
        import torch

        cuda: Any = torch.cuda  # untyped in torch
        if cuda.is_initialized():
            torch._C._cuda_clearCublasWorkspaces()
            cuda.empty_cache()

    @staticmethod
    def monitor(uuid: str) -> nvml.Gpu:
        """The GPU as NVML knows it; where it can't be opened, it answers everything with the reason."""
        try:
            return nvml.open_gpu(uuid)
        except Unavailable as reason:
            return nvml.Gpu(None, str(reason))

    def clock(self, call: Call, batches: int, batch: int, *, lead_seconds: float = 0.0) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch by the marks around it.

        The call that is not clocked keeps the device at work while the first is queued. What lies between two marks is
        then the device's time, as long as the host keeps ahead of it. Where it does not, the device waits between
        kernels, which is what the user gets too; `submit_seconds` shows it.
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
        """Call `calls` times after one that is not clocked; before each the L2 cache is filled with something else.

        A call takes what lies between its marks, or what the host takes to queue it if that is more: while the device
        flushes, the host gets ahead by as much, which it could not in calls without a pause.
        """
        line, now = self._line, self._now
        seconds, waited = [0.0] * calls, 0.0
        before, after = self._marks(2)
        line.flush()  # the first takes the memory for it
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
        """Marks that exist: the driver creates one when it is recorded for the first time. The device is idle after."""
        marks = [self._line.mark() for _ in range(count)]
        for mark in marks:
            mark.record()
        self._line.synchronize()
        return marks

    def synchronize(self) -> None:
        """Wait for all that was queued; raises what went wrong in it: from then on no call of the process works."""
        self._line.synchronize()

    def clock_mhz(self) -> float | None:
        """Not read in a window: NVML's calls take time, so the coordinator makes them around replicates."""
        return None

    def uuid(self) -> str | None:
        """As torch writes it, without NVML's prefix."""
        import torch

        return str(torch.cuda.get_device_properties(torch.device(self.name)).uuid)

    def cards(self) -> list[Card]:
        """`cuda` stands for all GPUs that torch sees, `cuda:1` for that one."""
        import torch

        names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if self.name == "cuda" else [self.name]
        seen = [torch.cuda.get_device_properties(torch.device(name)) for name in names]
        return [
            Card(one.name, str(one.uuid), {"CUDA_VISIBLE_DEVICES": f"GPU-{one.uuid}"} if len(seen) > 1 else {})
            for one in seen
        ]

    def memory_bytes(self) -> int | None:
        """The card's own."""
        import torch

        return int(torch.cuda.get_device_properties(self.name).total_memory)

    def memory(self, timed: "TimedCall") -> Readings:
        """`reserved_bytes` of a call, and `process_bytes`, which is read while the allocator holds no more than that.

        The process also holds the CUDA context, what libraries have loaded, and the case's models and inputs.
        """
        gpu = partial(nvml.open_gpu, self.uuid() or "")
        return Readings.of(
            {
                "reserved_bytes": lambda: self.reserved_bytes(timed),
                "process_bytes": lambda: gpu().process_bytes(os.getpid()),
            }
        )

    def reserved_bytes(self, timed: "TimedCall") -> int:
        """What torch's caching allocator asks of the driver to hold one call, starting from an empty cache.

        A recorded graph asked for its memory when it was recorded, and holds it between calls.
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

    def meter(self) -> Meter:
        """The GPU's counter; raises Unavailable."""
        meter = GpuEnergy(nvml.open_gpu(self.uuid() or ""))
        meter.read()
        return meter

    def launch(self) -> Call:
        """Queues a kernel that spins for no cycle."""
        import torch

        spin: Any = torch.cuda._sleep  # untyped in torch
        return partial(spin, 0)

    def snapshot(self, timed: "TimedCall", file: Path) -> bool:
        """Write the caching allocator's history of one call, with the Python and C++ stack of each block."""
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
        return True


def _pool_bytes(pool: tuple[int, int]) -> int:
    """What a recorded graph's own pool holds; raises Unavailable."""
    import torch

    snapshot: Any = torch.cuda.memory_snapshot  # untyped in torch
    segments = [one["total_size"] for one in snapshot() if tuple(one["segment_pool_id"]) == tuple(pool)]
    if not segments:
        raise Unavailable("torch's allocator does not list the pool of this recording")
    return sum(segments)


def _of_gpus(read: Callable[[nvml.Gpu], Readings]) -> dict[str, Any]:
    try:
        gpus = [read(gpu) for gpu in nvml.open_gpus()]
    except Unavailable as reason:
        return {"gpu": str(reason)}
    return {f"gpu {number}": one.values | {"not known": one.missing} for number, one in enumerate(gpus)}


def _not_told(fault: Exception) -> str:
    return f"not told: {str(fault).partition(chr(10))[0]}"
