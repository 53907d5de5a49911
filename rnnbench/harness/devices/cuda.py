"""An NVIDIA GPU (or AMD's, by torch for ROCm): calls are queued, and events on the device's own time line time them."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.harness.devices import nvml
from rnnbench.harness.devices.cuda_cards import gpu_named, near_cores, not_among
from rnnbench.harness.devices.device import Blocks, Call, Clocked, Device, Meter
from rnnbench.harness.machine.cores import measuring_cores
from rnnbench.store.metrics import Readings, Unavailable
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from torch import Tensor

    from rnnbench.workloads.phases import TimedCall

LEAD_FACTOR = 3  # how long the device is held, in times that queueing a call takes
LEAD_CALLS = 5  # calls for the least time
NO_KERNELS = (
    "torch's profiler saw no kernel of this call: it has no CUPTI, or another profiler or the driver forbids it"
)
UNJOINED = (
    "it queues work on another stream, and the current stream does not wait for it, so its time can't be measured; "
    "join them by torch.cuda.current_stream().wait_stream(stream)"
)
UNJOINED_SHARE = 0.25  # of the time of a call, for which a device is busy after the event at its end
UNJOINED_SECONDS = 200e-6  # at least so long: after a short call, the wait for the device takes the host as long
UNJOINED_TRIES = 3  # calls, each of which must be so: a host may lose its core between two looks at its clock
HIGHEST_CLOCK = 3e9  # hertz; a slower device is held for longer
SHORT_SPIN = 50_000  # cycles of the shorter of two kernels, whose difference tells the rate of the clock
LONG_SPIN = 400_000  # of the longer one
HOST_THREADS = 1  # that CUDA's calls need beside those of torch: autograd's own, which launches the kernels of backward
MPS_CONTROL = "/tmp/nvidia-mps"  # the folder in which NVIDIA's multi-process service has its pipes
MIN_BUFFER_BYTES = 64 << 20  # if a driver reports no size of the L2 cache


def _is_busy_after(start: float, last_event: float, end: float) -> bool:
    """Return True if a device was busy for long after the last event of calls, from the times of the host's clock."""
    return end - last_event > max(UNJOINED_SECONDS, UNJOINED_SHARE * (end - start))


class Cuda(Device):
    """Times calls between events on the stream on which they are queued."""

    product_sizes: tuple[int, ...] = (2048, 4096, 8192)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (20, 22, 24, 25, 26, 28, 30))
    # Events have steps of 0.5 us. Rounded to whole calls, a block takes at least two thirds of `seconds`: 200 us.
    blocks = Blocks(shortest_call=200e-6, seconds=300e-6, turn_seconds=0.01)
    is_shared = False  # each case may need all of its memory
    is_forkable = True  # a worker: CUDA starts with the first call that needs it
    runs_host_code = False
    has_queue = True
    lacks: Mapping[DType, str] = {}  # older GPUs compute tf32 with their float32 units

    def __init__(self, name: str, now: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self._now = now
        self._cuda.set_device(int(name.partition(":")[2] or 0))  # everything opened later is on this device
        properties = self._cuda.get_device_properties(name)
        self.uuid: str | None = str(properties.uuid)  # without the "GPU-" prefix that NVML adds
        self.model = str(properties.name)
        self._memory_bytes = int(properties.total_memory)

    @property
    def memory_bytes(self) -> int:
        """Return the memory of the card."""
        return self._memory_bytes

    @staticmethod
    def why_not(name: str) -> str:
        """Return why the device with this name can't be used; empty if it can be used."""
        import torch

        if torch.version.cuda is None and torch.version.hip is None:
            return f"torch {torch.__version__} is built without CUDA and without ROCm"
        if not torch.cuda.is_available():
            return "torch finds no CUDA device or driver"
        return not_among(name, torch.cuda.device_count())

    @staticmethod
    def why_not_here(name: str) -> str:
        """Return why no worker of this process can find the device, as far as that is known without torch."""
        try:
            count = len(nvml.visible())
        except Unavailable:
            return ""
        return not_among(name, count)

    @staticmethod
    def is_listed(name: str) -> bool:
        """Return True if NVML lists the card that CUDA has under this name in this process."""
        try:
            gpu_named(name)
        except Unavailable:
            return False
        return True

    @staticmethod
    def why_no_pair(name: str) -> str:
        """Return why two processes can't use the device at once, as a clause; empty if they can, or if it is unknown.

        NVIDIA's multi-process service lets several processes share a card that takes one process only.
        """
        try:
            mode = nvml.READINGS["compute_mode"](gpu_named(name))
        except Unavailable:
            return ""
        pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or MPS_CONTROL)
        if mode != nvml.EXCLUSIVE or (pipes / "control").exists():
            return ""
        return (
            f"the compute mode of {name} is EXCLUSIVE_PROCESS, so only one process can use it at a time, and a check "
            "needs two. Ask for a card in the mode DEFAULT (`nvidia-smi -q -d COMPUTE` shows it), or use NVIDIA's MPS"
        )

    @staticmethod
    def shared_memory(name: str) -> str:
        """Say how much memory two processes have that use the device at once; empty if it is unknown."""
        try:
            total = nvml.READINGS["memory_total_bytes"](gpu_named(name))
        except Unavailable:
            return ""
        return (
            f"both sides use {name} at once, so each has half of its memory: {total / 2e9:.1f} of {total / 1e9:.1f} GB"
        )

    @staticmethod
    def core_choices(name: str, number: int) -> list[list[int]]:
        """Return the cores for so many threads of torch, and one for autograd's: near the card, if that is known."""
        return [measuring_cores(number + HOST_THREADS, near_cores(name))]

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """Return the settings that turn TF32 on or off for both matrix products and cuDNN."""
        return {"float32 matmul precision": "high" if dtype == "tf32" else "highest", "cuDNN TF32": dtype == "tf32"}

    @staticmethod
    def about() -> dict[str, Any]:
        """Return the versions of `cuda` (or ROCm) and `cudnn` that torch uses.

        Nothing about the GPUs: asking torch for them would start CUDA in every worker, also of a CPU's cases.
        """
        import torch

        # Not by `torch.backends.cudnn.version`, which makes a context on each card before it answers.
        tell = getattr(getattr(torch._C, "_cudnn", None), "getVersionInt", None)
        rocm = torch.version.hip and f"ROCm {torch.version.hip}"
        return {"cuda": torch.version.cuda or rocm, "cudnn": tell() if tell is not None else None}

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
        """Call `batches * batch` times without a pause, timing each batch by the events around it.

        The unclocked call is made even if `is_warm`: it keeps the device busy while the first clocked call is queued.
        The time between two events is then the device's time, as long as the host stays ahead of the device. If it does
        not, the device waits between kernels, as it does for a user; `submit_seconds` shows this. A device does not
        wait for a core, so `counts_waits` is ignored. So is `pulse`: it would show the state of the host's core. Raises
        RuntimeError for a call with work on another stream that the current stream does not wait for.
        """
        inner = range(batch)
        events = self._events(batches + 1)
        call()
        if lead_seconds:
            self.hold(lead_seconds)
        start = self._now()
        events[0].record()
        for event in events[1:]:
            for _ in inner:
                call()
            event.record()
        submitted = self._now()
        is_ahead = bool(lead_seconds) and not events[0].query()  # the device has not begun
        events[-1].synchronize()
        last_event = self._now()
        self.synchronize()
        end = self._now()
        if _is_busy_after(start, last_event, end) and self._is_unjoined(call):
            raise RuntimeError(UNJOINED)
        seconds = [before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(events)]
        return Clocked(
            seconds, sum(seconds), end - start, submitted - start, 1 + batches * batch, is_queued_ahead=is_ahead
        )

    def _is_unjoined(self, call: Call) -> bool:
        """Return True if the device is busy for long after the event at the end of each of some single calls."""
        [event] = self._events(1)
        for _ in range(UNJOINED_TRIES):
            start = self._now()
            call()
            event.record()
            event.synchronize()
            last_event = self._now()
            self.synchronize()
            end = self._now()
            if not _is_busy_after(start, last_event, end):
                return False
        return True

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one unclocked call, and fill the L2 cache with other data before each call.

        The time of a call is the time between its events, or the time the host takes to queue it if that is longer: the
        host gets ahead while the device flushes, which it could not do in calls without a pause.
        """
        now = self._now
        seconds = [0.0] * calls
        waited = 0.0
        before, after = self._events(2)
        self.flush()  # the first flush allocates its buffer
        call()
        self.synchronize()
        first = now()
        for index in range(calls):
            self.flush()
            before.record()
            start = now()
            call()
            queued = now()
            after.record()
            self.synchronize()
            waited += now() - queued
            seconds[index] = max(before.elapsed_time(after) / 1e3, queued - start)
        whole = now() - first
        return Clocked(seconds, sum(seconds), whole, whole - waited, 1 + calls)

    @property
    def _cuda(self) -> Any:  # partly untyped in torch
        import torch

        return torch.cuda

    def _events(self, count: int) -> list[Any]:
        """Return recorded events, since the driver creates one at its first recording. The device is idle then."""
        events = [self.event() for _ in range(count)]
        for event in events:
            event.record()
        self.synchronize()
        return events

    def event(self) -> Any:
        """Return a point of the device's time line, which the device stamps in steps of half a microsecond."""
        return self._cuda.Event(enable_timing=True)

    def hold(self, seconds: float) -> None:
        """Queue a kernel that keeps the device busy for at least this long, by any clock that cards have today."""
        self.spin(int(seconds * HIGHEST_CLOCK))

    def spin(self, cycles: int) -> None:
        """Queue a kernel that counts so many cycles and takes no memory."""
        self._cuda._sleep(cycles)

    def clock_hertz(self) -> float | None:
        """Return the rate of the clock of the multiprocessors now; None if it can't be measured.

        It follows from the times of two kernels of known cycles: what a launch takes is in both. They come right after
        the calls, before the card lowers its clock. Of AMD's cards the kernel counts the ticks of another clock.
        """
        import torch

        if torch.version.hip is not None:
            return None
        marks = self._events(3)
        self.spin(SHORT_SPIN)  # the host queues the others meanwhile
        marks[0].record()
        self.spin(LONG_SPIN)
        marks[1].record()
        self.spin(SHORT_SPIN)
        marks[2].record()
        self.synchronize()
        long, short = (before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(marks))
        return (LONG_SPIN - SHORT_SPIN) / (long - short) if long > short else None

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """Show what happens meanwhile under this name in NVIDIA's Nsight Systems, on the time line of the host."""
        nvtx = self._cuda.nvtx
        try:
            nvtx.range_push(name)
        except RuntimeError:  # torch was built without it
            yield
            return
        try:
            yield
        finally:
            nvtx.range_pop()

    def flush(self) -> None:
        """Queue work that empties the L2 cache: write a buffer of at least twice its size."""
        _buffer(self.name).zero_()

    def synchronize(self) -> None:
        """Wait for all queued work; raises its error, after which no CUDA call of this process works."""
        self._cuda.synchronize(self.name)

    def memory(self, timed: "TimedCall") -> Readings:
        """Return the `reserved_bytes` of a call, and its `device_seconds`, which only the device can tell."""
        return Readings.from_instruments(
            {
                "reserved_bytes": lambda: self.reserved_bytes(timed),
                "device_seconds": lambda: self.device_seconds(timed),
            }
        )

    def device_seconds(self, timed: "TimedCall") -> float:
        """Return the least time of a call on the device if the host has queued all of it before; raises Unavailable.

        The device is held while the host queues the call. The queue takes some thousand launches: the host waits before
        it can queue more, until the device is free. Of a call with more, or one that reads a value back, it is the time
        in which its kernels run.
        """
        with timed.mode():
            lead = LEAD_FACTOR * self.clock(timed.call, LEAD_CALLS, 1).submit_seconds / LEAD_CALLS
            first = self.clock(timed.call, 1, 1, lead_seconds=lead)
            if not first.is_queued_ahead:  # nor would the others be: a call launches as many kernels each time
                return self.kernel_seconds(timed.call)
            others = [self.clock(timed.call, 1, 1, lead_seconds=lead) for _ in range(LEAD_CALLS - 1)]
        return min(each.seconds for each in (first, *others) if each.is_queued_ahead)

    def kernel_seconds(self, call: Call) -> float:
        """Return the seconds in which kernels and copies of a call run, under torch's profiler; raises Unavailable.

        The profiler slows the host down, and not the kernels; what runs at the same time counts once.
        """
        self._profiled(call)
        busy = 0
        until = 0
        for start, end in sorted(self._profiled(call)):  # the first look in a process is slow
            busy += max(0, end - max(start, until))
            until = max(until, end)
        if not busy:
            raise Unavailable(NO_KERNELS)
        return busy / 1e9

    def _profiled(self, call: Call) -> list[tuple[int, int]]:
        """Return when each kernel of a call begins and ends, in nanoseconds; empty without CUPTI."""
        import torch
        from torch._C._autograd import DeviceType

        profiler: Any = torch.profiler  # untyped in torch
        self.synchronize()
        with profiler.profile(activities=profiler.supported_activities()) as profile:
            call()
            self.synchronize()
        return [
            (event.start_ns(), event.start_ns() + event.duration_ns())
            for event in profile.profiler.kineto_results.events()
            # A range that code has named spans the kernels in it and the gaps between them.
            if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()
        ]

    def reserved_bytes(self, timed: "TimedCall") -> int:
        """Return the bytes that torch's allocator requests from the driver for one call, from an empty cache.

        A recorded graph allocates its memory at recording time and keeps it between calls, in a pool of its own.
        Without `timed.pool`, such pools are those of graphs that torch.compile has recorded. Raises Unavailable.
        """
        cuda = self._cuda
        pool = timed.pool
        sizes = [(tuple(each["segment_pool_id"]), each["total_size"]) for each in cuda.memory_snapshot()]
        recorded = [size for owner, size in sizes if owner == pool or (pool is None and any(owner))]
        if pool is not None and not recorded:
            raise Unavailable("torch's allocator does not list the pool of this recording")
        with timed.mode():
            timed.call()
            self.synchronize()
            cuda.empty_cache()
            cuda.reset_peak_memory_stats(self.name)
            before = cuda.memory_reserved(self.name)
            timed.call()
            self.synchronize()
            return int(sum(recorded) + cuda.max_memory_reserved(self.name) - before)

    def meter(self) -> Meter:
        """Return the GPU's energy counter: of the whole board, idle power and other processes; raises Unavailable.

        A MIG instance has none: that of its card counts what the other instances take, too.
        """
        gpu = nvml.open_gpu(str(self.uuid))
        if gpu.card() is not None:
            raise Unavailable(f"{self.name} is a MIG instance, and NVML counts the energy of whole cards only")
        read = partial(nvml.READINGS["energy_joules"], gpu)
        read()
        # The counter steps every 0.1 s or more often. A card takes more once it is warm.
        return Meter(2.0, lambda: {"gpu": read()}, load_seconds=1.0)


@cache
def _buffer(name: str) -> "Tensor":
    """Return a buffer that lives as long as the process; not an inference tensor: every mode can write to it."""
    import torch

    size = max(2 * torch.cuda.get_device_properties(name).L2_cache_size, MIN_BUFFER_BYTES)
    with torch.inference_mode(False):
        return torch.empty(size, dtype=torch.uint8, device=name)
