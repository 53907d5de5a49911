"""The processor that the worker is pinned to."""

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from rnnbench.harness.devices.cgroup import memory_limits
from rnnbench.harness.devices.device import Blocks, Call, Clocked
from rnnbench.harness.devices.meters import Rapl
from rnnbench.harness.machine.cores import SYSTEM, allowed_cores
from rnnbench.store.readings import Readings
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from rnnbench.workloads.phases import TimedCall


class Cpu:
    """The CPU works while it is called, so the host's clock times it."""

    product_sizes: tuple[int, ...] = (256, 512, 1024)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (15, 18, 20, 22, 24, 27))
    blocks = Blocks(shortest_call=20e-6, seconds=100e-6, turn_seconds=1.5e-3)  # reading the clock takes some 50 ns
    is_shared = True
    runs_host_code = True

    def __init__(
        self, name: str = "cpu", now: Callable[[], float] = time.perf_counter, flush: Call | None = None
    ) -> None:
        """`flush` empties the last-level cache; by default it writes a block that is larger than the cache."""
        self.name = name
        self._now = now
        self._flush = flush or _flush

    @staticmethod
    def why_not(name: str) -> str:
        """Why the device with this name can't be used; empty if it can be used."""
        return "" if name == "cpu" else f"no device {name!r}: the processor is `cpu`, its cores are chosen by `threads`"

    @staticmethod
    def lacks(dtype: DType) -> str:
        """Why the device does not support a type; empty if it does."""
        return "tf32 is a way of CUDA's matrix units, and a processor has none" if dtype == "tf32" else ""

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """Full precision for products: oneDNN may multiply float32 with less precision if a setting allows it."""
        return {"float32 matmul precision": "highest"}

    @staticmethod
    def about() -> dict[str, Any]:
        """`onednn`: whether torch has it; `cpu_capability`: the instruction set that torch's own kernels use."""
        import torch

        backends: Any = torch.backends  # untyped in torch
        return {"onednn": backends.mkldnn.is_available(), "cpu_capability": backends.cpu.get_cpu_capability()}

    def clock(
        self, call: Call, batches: int, batch: int, *, lead_seconds: float = 0.0, is_warm: bool = False
    ) -> Clocked:
        """Call `batches * batch` times, after one unclocked call unless `is_warm`.

        `lead_seconds` is ignored, as a CPU has no queue.
        """
        now = self._now
        seconds = [0.0] * batches
        inner = range(batch)
        if not is_warm:
            call()
        first = end = now()
        for index in range(batches):
            start = end
            for _ in inner:
                call()
            end = now()
            seconds[index] = end - start
        return Clocked(seconds, end - first, end - first, end - first, (not is_warm) + batches * batch)

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one unclocked call, and flush the last-level cache before each call."""
        now = self._now
        seconds = [0.0] * calls
        self._flush()  # the first flush allocates its buffer
        call()
        first = now()
        for index in range(calls):
            self._flush()
            start = now()
            call()
            seconds[index] = now() - start
        whole = now() - first
        return Clocked(seconds, sum(seconds), whole, whole, 1 + calls)

    def synchronize(self) -> None:
        """Do nothing: the work is done when a call returns."""

    def clock_mhz(self) -> float | None:
        """Clock rate of the first allowed core in MHz; None if there is no frequency driver or it reports none."""
        file = SYSTEM / f"cpu{allowed_cores()[0]}" / "cpufreq" / "scaling_cur_freq"
        try:
            return int(file.read_text()) / 1000 or None  # some drivers report 0, or a word, for an unknown rate
        except (OSError, ValueError):
            return None

    def uuid(self) -> str | None:
        """None: there is only one processor."""
        return None

    def model(self) -> str:
        """Empty: the description of the machine includes the processor."""
        return ""

    def memory_bytes(self) -> int | None:
        """The machine's memory in bytes, or less if a container or the shell sets a limit; None if none is told."""
        limits = [resource.getrlimit(resource.RLIMIT_AS)[0], *memory_limits()]
        with suppress(OSError):  # a sandbox hides /proc
            limits.append(psutil.virtual_memory().total)
        return min((limit for limit in limits if limit > 0), default=None)  # -1: no limit

    def memory(self, timed: "TimedCall") -> Readings:
        """`resident_bytes`: the memory pages that a call adds, in bytes."""
        from rnnbench.harness.devices.resident import resident_bytes

        return Readings.of({"resident_bytes": lambda: resident_bytes(timed)})

    def meter(self) -> Rapl:
        """The processor's energy counters; raises Unavailable."""
        meter = Rapl()
        meter.read()
        return meter


def _flush() -> None:
    from rnnbench.harness.devices import caches

    caches.flush()
