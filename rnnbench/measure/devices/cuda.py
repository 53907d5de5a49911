"""An NVIDIA GPU: calls are queued, and marks on the device's own time line clock them."""

import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from rnnbench.measure import nvml
from rnnbench.measure.devices.device import Call, Clocked
from rnnbench.store.readings import Readings
from rnnbench.store.records import DType


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

    def synchronize(self) -> None:
        """Wait until all that was queued is done; raises what went wrong in it."""
        ...


class Cuda:
    """Clocks calls between events of the stream that they are queued on."""

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
        index, count = name.partition(":")[2] or "0", torch.cuda.device_count()
        if not index.isdecimal() or int(index) >= count:
            return f"no device {name!r}: there are cuda:0 to cuda:{count - 1}"
        return ""

    @staticmethod
    def lacks(dtype: DType) -> str:
        """Why it can't work in a type: no type is lacking, though older GPUs take float32's units for tf32."""
        return ""

    def clock(self, call: Call, batches: int, batch: int) -> Clocked:
        """Call `batches * batch` times without a pause, clocking each batch by the marks around it.

        A call that is not clocked goes before, so that the device is at work while the first is queued. What
        lies between two marks is then the device's time, as long as the host keeps ahead of it. Where it does not, the
        device waits between kernels, which is what the user gets too; `submit_seconds` shows it.
        """
        line, inner = self._line, range(batch)
        marks = [line.mark() for _ in range(batches + 1)]
        line.synchronize()
        call()
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
        return Clocked(seconds, sum(seconds), end - start, submitted - start)

    def clock_mhz(self) -> float | None:
        """Not read in a window: NVML's calls take time, so the coordinator makes them around replicates."""
        return None

    def uuid(self) -> str | None:
        """As torch writes it, without NVML's prefix."""
        import torch

        return str(torch.cuda.get_device_properties(torch.device(self.name)).uuid)

    def memory(self) -> Readings:
        """`process_bytes`: the context, torch's pool and what libraries hold."""
        gpu = partial(nvml.open_gpu, self.uuid() or "")
        return Readings.of({"process_bytes": lambda: gpu().process_bytes(os.getpid())})


class Stream:
    """The current stream of a CUDA device."""

    def __init__(self, name: str) -> None:
        import torch

        self._device = torch.device(name)
        torch.cuda.set_device(self._device)  # the worker's cases are all on this device while it is open

    def mark(self) -> "Event":
        """A CUDA event."""
        return Event()

    def synchronize(self) -> None:
        """Wait for the device; raises what went wrong in a kernel."""
        import torch

        torch.cuda.synchronize(self._device)


class Event:
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
        assert isinstance(later, Event)
        milliseconds: float = self._event.elapsed_time(later._event)
        return milliseconds / 1e3
