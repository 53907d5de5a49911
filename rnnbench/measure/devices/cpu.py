"""The processor that the worker is pinned to."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from rnnbench.measure.devices.device import Call, Clocked
from rnnbench.store.readings import Readings
from rnnbench.store.records import DType


class Cpu:
    """Does its work while it is called, so its clock is the host's."""

    def __init__(self, name: str = "cpu", now: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self._now = now

    @staticmethod
    def why_not(name: str) -> str:
        """Why a device of this name can't be used; empty where it can."""
        return "" if name == "cpu" else f"no device {name!r}: the processor is `cpu`, its cores are chosen by `threads`"

    @staticmethod
    def lacks(dtype: DType) -> str:
        """Why it can't work in a type; empty where it can."""
        return "tf32 is a way of CUDA's matrix units, and a processor has none" if dtype == "tf32" else ""

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
        return Clocked(seconds, end - first, end - first, end - first)

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
