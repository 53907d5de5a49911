"""The clocks that times come from: a case that replaces one fails, and the clock is put back."""

import time
from typing import Any

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.turns import engine

OF_TIME = ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns", "process_time")
OF_DEVICES = ("clock", "clock_cold", "synchronize")
OF_ENGINE = ("take_window", "clock_window", "calibrate", "warm_up")


class Clocks:
    """The functions that read clocks, as they were before any case."""

    def __init__(self) -> None:
        owners: list[tuple[Any, tuple[str, ...]]] = [(time, OF_TIME), (engine, OF_ENGINE)]
        owners += [(kind, OF_DEVICES) for kind in devices.BACKENDS.values()]
        self._functions = [(owner, name, getattr(owner, name)) for owner, names in owners for name in names]

    def put_back(self) -> None:
        """Put every clock back; raises CellError if one was replaced."""
        replaced = []
        for owner, name, function in self._functions:
            if getattr(owner, name) is not function:
                setattr(owner, name, function)
                replaced.append(f"{owner.__name__.rpartition('.')[2]}.{name}")
        if replaced:
            raise CellError(f"it replaces {', '.join(replaced)}; times come from there")
