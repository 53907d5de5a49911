"""What differs from device to device. A new one is a class here and a line in `BACKENDS`.

Importing this module does not import torch.
"""

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rnnbench.measure import nvml
from rnnbench.store.readings import Readings

Call = Callable[[], object]


@dataclass(frozen=True)
class Clocked:
    """What a device saw of back-to-back calls."""

    batch_seconds: list[float]  # of each batch, by the device's clock
    seconds: float  # from the first call to the end of the last, by the device's clock
    host_seconds: float  # the same by the host's clock


class Device(Protocol):
    """Times calls; everything else that the engine needs of a device."""

    def clock(self, call: Call, batches: int, batch: int) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch."""
        ...

    def clock_mhz(self) -> float | None:
        """The clock rate of the moment; None where the system does not tell."""
        ...

    def uuid(self) -> str | None:
        """What the driver knows the device by; None where there is but one."""
        ...

    def memory(self) -> Readings:
        """Memory of this process that only the device's driver knows."""
        ...


class Cpu:
    """The processor that the worker is pinned to."""

    def __init__(self, name: str = "cpu", now: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self._now = now

    @staticmethod
    def why_not(name: str) -> str:
        """Why a device of this name can't be used; empty where it can."""
        return "" if name == "cpu" else f"no device {name!r}: the processor is `cpu`, its cores are chosen by `threads`"

    def clock(self, call: Call, batches: int, batch: int) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch."""
        now = self._now
        seconds = [0.0] * batches
        inner = range(batch)
        first = end = now()
        for index in range(batches):
            start = end
            for _ in inner:
                call()
            end = now()
            seconds[index] = end - start
        return Clocked(seconds, end - first, end - first)

    def clock_mhz(self) -> float | None:
        """The first allowed core's clock rate, from the frequency driver where there is one."""
        core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        try:
            kilohertz = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq").read_text()
        except OSError:
            return None
        return int(kilohertz) / 1000

    def uuid(self) -> str | None:
        """There is but one."""
        return None

    def memory(self) -> Readings:
        """None: the system tells all."""
        return Readings()


class Cuda:
    """A GPU: calls are queued, and events on the device's own time line clock them."""

    def __init__(self, name: str) -> None:
        import torch

        self.name = name
        self._device = torch.device(name)

    @staticmethod
    def why_not(name: str) -> str:
        """Why a device of this name can't be used; empty where it can."""
        import torch

        if torch.version.cuda is None:
            return f"torch {torch.__version__} is built without CUDA"
        if not torch.cuda.is_available():
            return "torch finds no CUDA device or driver"
        index, count = name.partition(":")[2] or "0", torch.cuda.device_count()
        if not index.isdecimal() or int(index) >= count:
            return f"no device {name!r}: there are cuda:0 to cuda:{count - 1}"
        return ""

    def clock(self, call: Call, batches: int, batch: int) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch by events between them."""
        import torch

        with torch.cuda.device(self._device):
            event_type: Any = torch.cuda.Event  # untyped in torch
            events = [event_type(enable_timing=True) for _ in range(batches + 1)]
            torch.cuda.synchronize()
            start = time.perf_counter()
            events[0].record()
            for event in events[1:]:
                for _ in range(batch):
                    call()
                event.record()
            torch.cuda.synchronize()
            host_seconds = time.perf_counter() - start
            seconds = [before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(events)]
        return Clocked(seconds, sum(seconds), host_seconds)

    def clock_mhz(self) -> float | None:
        """Not read in a window: NVML's calls take time, so the coordinator makes them around replicates."""
        return None

    def uuid(self) -> str | None:
        """As torch writes it, without NVML's prefix."""
        import torch

        return str(torch.cuda.get_device_properties(self._device).uuid)

    def memory(self) -> Readings:
        """`process_bytes`: the context, torch's pool and what libraries hold."""
        gpu = partial(nvml.open_gpu, self.uuid() or "")
        return Readings.of({"process_bytes": lambda: gpu().process_bytes(os.getpid())})


BACKENDS: dict[str, type[Cpu] | type[Cuda]] = {"cpu": Cpu, "cuda": Cuda}


def why_not(name: str) -> str:
    """Why a device can't be used on this machine, in a clause; empty where it can."""
    backend = BACKENDS.get(name.partition(":")[0])
    if backend is None:
        return f"no device {name!r}; there are {', '.join(BACKENDS)} (and cuda:0, cuda:1, ...)"
    return backend.why_not(name)


def open_device(name: str) -> Device:
    """The device of a name for which `why_not` is empty."""
    return BACKENDS[name.partition(":")[0]](name)
