"""The processor that the worker is pinned to."""

import ctypes
import re
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from rnnbench.harness.devices.device import Blocks, Call, Clocked, Counters, Device, Meter
from rnnbench.harness.machine.cores import (
    SHORTEST_WAIT,
    allowed_cores,
    core_waits,
    file_text,
    group_texts,
    processor,
)
from rnnbench.store.metrics import Readings, Unavailable
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from torch import Tensor

    from rnnbench.workloads.phases import TimedCall

ASSUMED_CACHE_BYTES = 256 << 20  # assumed size of the last-level caches if the system does not report it
CACHE_MARGIN = 1.5  # caches evict the oldest data first, but not in strict order
POWERCAP = Path("/sys/class/powercap")
ROLLUP = Path("/proc/self/smaps_rollup")
MAX_ROLLUP = 1 << 13  # bytes; it has a kilobyte
# glibc's `mallopt` parameters, and Linux's `prctl` against huge pages: touching one byte makes 2 MB resident.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
PR_SET_THP_DISABLE = 41
TRIAL_BYTES = 8 << 20
STILL: tuple[Callable[[], float], Callable[[], float]] = (lambda: 0.0), (lambda: 0.0)  # clocks of waits


class Cpu(Device):
    """The CPU works while it is called, so the host's clock times it.

    On a busy machine, the system gives the core to other processes every few milliseconds. These waits do not count.
    """

    product_sizes: tuple[int, ...] = (256, 512, 1024)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (15, 18, 20, 22, 24, 27))
    blocks = Blocks(shortest_call=20e-6, seconds=100e-6, turn_seconds=1.5e-3)  # reading the clock takes some 50 ns
    is_shared = True
    is_forkable = True
    runs_host_code = True
    lacks: Mapping[DType, str] = {"tf32": "tf32 is a way of CUDA's matrix units, and a processor has none"}
    uuid: str | None = None
    model = ""  # the description of the machine includes the processor

    def __init__(self, name: str = "cpu", now: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self._now = now

    @staticmethod
    def why_not(name: str) -> str:
        """Return why the device with this name can't be used; empty if it can be used."""
        if name == "cpu":
            return ""
        return f"no device {name!r}: there are cpu (`threads` chooses its cores), cuda and cuda:0"

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """Return the settings for full precision: one may let oneDNN multiply float32 with less."""
        return {"float32 matmul precision": "highest"}

    @staticmethod
    def about() -> dict[str, Any]:
        """Return whether torch has `onednn`, and the instruction set of torch's own kernels (`cpu_capability`)."""
        import torch

        backends: Any = torch.backends  # untyped in torch
        return {"onednn": backends.mkldnn.is_available(), "cpu_capability": backends.cpu.get_cpu_capability()}

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
        """Call `batches * batch` times, after one unclocked call unless `is_warm`.

        `counts_waits`: waits for a core count; so they do by a clock that is not the real one. `pulse`: called before
        the first batch and after each one; it returns the seconds of a fixed piece of work. `lead_seconds` is ignored,
        as a CPU has no queue.
        """
        return self._clocked(call, batches, batch, is_warm=is_warm, counts_waits=counts_waits, pulse=pulse)

    def _clocked(
        self,
        call: Call,
        batches: int,
        batch: int,
        *,
        is_warm: bool = False,
        is_cold: bool = False,
        counts_waits: bool = False,
        pulse: Callable[[], float] | None = None,
    ) -> Clocked:
        """Clock calls; `is_cold`: flush the last-level cache before each batch."""
        now = self._now
        seconds = [0.0] * batches
        pulses: list[float] = []
        inner = range(batch)
        stands_still = counts_waits or now is not time.perf_counter
        with nullcontext(STILL) if stands_still else core_waits() as (waits_at_start, waits_at_end):
            if not is_warm:
                call()
            if pulse is not None:
                pulses.append(pulse())
            first = now()
            for index in range(batches):
                if is_cold:
                    self.flush()
                before = waits_at_start()
                start = now()
                for _ in inner:
                    call()
                end = now()
                took = end - start
                waits = waits_at_end() - before
                # A wait that is longer than the block was just before or after it.
                seconds[index] = took - waits if SHORTEST_WAIT < waits < took else took
                if pulse is not None:
                    pulses.append(pulse())
        whole = end - first - sum(pulses[1:-1])
        return Clocked(seconds, sum(seconds), whole, whole, (not is_warm) + batches * batch, pulses)

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one unclocked call, and flush the last-level cache before each call."""
        self.flush()  # the first flush allocates its buffer
        return self._clocked(call, calls, 1, is_cold=True)

    def flush(self) -> None:
        """Read and write more than the last-level caches of the allowed cores hold; torch's threads share the work."""
        _block(len(allowed_cores())).add_(1)

    def synchronize(self) -> None:
        """Do nothing: the work is done when a call returns."""

    @property
    def memory_bytes(self) -> int:
        """Return the machine's memory in bytes, or less if a container or the shell sets a limit."""
        of_groups = [int(text) for text in group_texts("memory.max") if text.isdecimal()]
        limits = (resource.getrlimit(resource.RLIMIT_AS)[0], *of_groups, psutil.virtual_memory().total)
        return min(limit for limit in limits if limit > 0)  # -1: no limit

    def memory(self, timed: "TimedCall") -> Readings:
        """Return the `resident_bytes` of a call: the memory pages that it adds."""
        return Readings.from_instruments({"resident_bytes": lambda: resident_bytes(timed)})

    def meter(self) -> Meter:
        """Return the energy counters of the processor's packages (Intel's name, RAPL, also of AMD's).

        They include all packages, idle power and other processes, but not memory. Raises Unavailable.
        """
        # `intel-rapl:N:M` are parts of `intel-rapl:N`, and `intel-rapl-mmio:N` is the same package again; a zone with
        # another name (psys) contains the packages. In a container the zones link to hidden files, so none is found.
        zones = [folder for folder in POWERCAP.glob("intel-rapl:*") if re.fullmatch(r"[^:]*:\d+", folder.name)]
        packages = [folder for folder in zones if file_text(folder / "name").startswith("package")]
        if not packages:
            raise Unavailable(
                f"no RAPL: no processor package in {POWERCAP} (virtual machines have none and containers hide them; "
                "elsewhere `modprobe intel_rapl_msr` may help)"
            )

        def read(file: str = "energy_uj") -> Counters:
            try:
                return {package.name: int((package / file).read_text()) / 1e6 for package in packages}
            except (OSError, ValueError) as fault:
                raise Unavailable(
                    f"{POWERCAP}/*/{file} can't be read ({fault}). Only root may read it, unless root allows it until "
                    f"the next boot: sudo chmod a+r {POWERCAP}/intel-rapl:*/energy_uj"
                ) from None

        read()
        return Meter(0.5, read, read("max_energy_range_uj"))  # they step about every millisecond, sometimes later


@cache
def _block(cores: int) -> "Tensor":
    """Return a buffer that lives as long as the process.

    It is not an inference tensor, so every autograd mode can write to it.
    """
    import torch

    last = max(processor().caches, key=lambda each: each.level, default=None)
    size = ASSUMED_CACHE_BYTES if last is None else last.bytes * -(-cores // last.cores)
    with torch.inference_mode(False):
        return torch.zeros(int(CACHE_MARGIN * size) // 8, dtype=torch.int64)


def resident_bytes(timed: "TimedCall") -> int:
    """Return the bytes of the pages that a call adds to those that the process already holds; raises Unavailable.

    The kernel's own high-water mark is off by up to 32 pages per core. So the allocator releases nothing while a call
    runs: the resident set after the call is then its peak.
    """
    if not is_memory_kept():
        raise Unavailable("the allocator in use gives memory back at once, so its peak can't be seen")
    libc = ctypes.CDLL(None)
    with ROLLUP.open("rb", buffering=0) as file, timed.mode():
        resident = _resident_set(file)
        timed.call()  # memory of one-time set-up does not count
        libc.malloc_trim(0)
        resident()  # touches the pages that reading itself needs
        before = resident()
        timed.call()
        return resident() - before


@cache
def is_memory_kept() -> bool:
    """Return True if the allocator releases nothing, for the rest of this process's life; raises Unavailable."""
    libc = ctypes.CDLL(None)
    if not ROLLUP.exists() or not hasattr(libc, "mallopt"):
        raise Unavailable("the resident set can be measured under Linux and glibc only")
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 0)):
        libc.mallopt(parameter, value)
    with ROLLUP.open("rb", buffering=0) as file:
        resident = _resident_set(file)
        libc.malloc_trim(0)
        before = resident()
        bytearray(b"1") * TRIAL_BYTES
        return resident() - before >= TRIAL_BYTES


def _resident_set(rollup: FileIO) -> Callable[[], int]:
    """Return a function for the bytes of resident pages. It takes no memory that a later call could use."""
    buffer = bytearray(MAX_ROLLUP)

    def resident() -> int:
        rollup.seek(0)
        rollup.readinto(buffer)
        [kilobytes] = re.findall(rb"^Rss:\s+(\d+) kB$", buffer, re.MULTILINE)
        return int(kilobytes) * 1024

    return resident
