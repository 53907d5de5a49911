"""The processor that the worker is pinned to."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from rnnbench.harness.devices import meters
from rnnbench.harness.devices.cgroup import memory_limits
from rnnbench.harness.devices.device import Blocks, Call, Card, Clocked
from rnnbench.harness.machine.cores import SYSTEM, allowed_cores
from rnnbench.store.readings import Readings
from rnnbench.store.records import DType

if TYPE_CHECKING:
    from rnnbench.workloads.phases import TimedCall


class Cpu:
    """Does its work while it is called, so its clock is the host's."""

    product_sizes: tuple[int, ...] = (256, 512, 1024)
    copy_bytes: tuple[int, ...] = tuple(1 << power for power in (15, 18, 20, 22, 24, 27))
    blocks = Blocks(shortest_call=20e-6, seconds=100e-6)  # reading the clock takes some 50 ns
    is_shared = True

    def __init__(
        self, name: str = "cpu", now: Callable[[], float] = time.perf_counter, flush: Call | None = None
    ) -> None:
        """`flush` empties the last-level cache; by default by writing through a block that is larger."""
        self.name = name
        self._now = now
        self._flush = flush or _flush

    @staticmethod
    def why_not(name: str) -> str:
        """Why a device of this name can't be used; empty where it can."""
        return "" if name == "cpu" else f"no device {name!r}: the processor is `cpu`, its cores are chosen by `threads`"

    @staticmethod
    def lacks(dtype: DType) -> str:
        """Why it can't work in a type; empty where it can."""
        return "tf32 is a way of CUDA's matrix units, and a processor has none" if dtype == "tf32" else ""

    @staticmethod
    def settings(dtype: DType) -> dict[str, Any]:
        """Products as exact as their type: oneDNN may multiply float32 in less where less is allowed."""
        return {"float32 matmul precision": "highest"}

    @staticmethod
    def about() -> dict[str, Any]:
        """`onednn` and the instructions that torch's own kernels use."""
        import torch

        backends: Any = torch.backends  # untyped in torch
        return {"onednn": backends.mkldnn.is_available(), "cpu_capability": backends.cpu.get_cpu_capability()}

    @staticmethod
    def described() -> dict[str, Any]:
        """Nothing: the processor is described with the machine."""
        return {}

    @staticmethod
    def empty_cache() -> None:
        """Nothing: torch's allocator on the CPU keeps no memory for later."""

    @staticmethod
    def standing() -> dict[str, Any]:
        """Nothing: the machine's load is described with the machine."""
        return {}

    @staticmethod
    def monitor(uuid: str) -> None:
        """None: nothing is asked of the processor around replicates."""

    def clock(self, call: Call, batches: int, batch: int, *, lead_seconds: float = 0.0) -> Clocked:
        """Call `batches * batch` times after one that is not clocked; a processor never waits, and needs no lead."""
        now = self._now
        seconds = [0.0] * batches
        inner = range(batch)
        call()
        first = end = now()
        for index in range(batches):
            start = end
            for _ in inner:
                call()
            end = now()
            seconds[index] = end - start
        return Clocked(seconds, end - first, end - first, end - first, 1 + batches * batch)

    def clock_cold(self, call: Call, calls: int) -> Clocked:
        """Call `calls` times after one that is not clocked; before each the last-level cache is flushed."""
        now = self._now
        seconds = [0.0] * calls
        self._flush()  # the first takes the memory for it
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
        """Its work is done when a call returns."""

    def clock_mhz(self) -> float | None:
        """The first allowed core's clock rate, from the frequency driver where there is one."""
        file = SYSTEM / f"cpu{allowed_cores()[0]}" / "cpufreq" / "scaling_cur_freq"
        try:
            return int(file.read_text()) / 1000 or None  # some drivers say 0, or a word, where they can't tell
        except (OSError, ValueError):
            return None

    def uuid(self) -> str | None:
        """There is but one."""
        return None

    def cards(self) -> list[Card]:
        """There is but one."""
        return [Card()]

    def memory_bytes(self) -> int | None:
        """The machine's, or less where a container or the shell allows less."""
        limits = [psutil.virtual_memory().total, resource.getrlimit(resource.RLIMIT_AS)[0], *memory_limits()]
        return min(limit for limit in limits if limit > 0)  # -1: no limit

    def memory(self, timed: "TimedCall") -> Readings:
        """`resident_bytes`: pages that a call adds."""
        from rnnbench.harness.devices.resident import resident_bytes

        return Readings.of({"resident_bytes": lambda: resident_bytes(timed)})

    def meter(self) -> meters.Meter:
        """The processor's own counters; raises Unavailable."""
        meter = meters.Rapl(meters.POWERCAP)
        meter.read()
        return meter

    def launch(self) -> None:
        """None: there are no kernels to launch."""

    def snapshot(self, timed: "TimedCall", file: Path) -> bool:
        """None: torch's allocator on the CPU keeps no history; the profiler's memory line is all that there is."""
        return False


def _flush() -> None:
    from rnnbench.harness.devices import caches

    caches.flush()
