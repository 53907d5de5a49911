"""The functions that times come from. A case that replaces one is found out, and the function is put back."""

import time
from typing import Any

from rnnbench.harness import devices
from rnnbench.harness.turns import engine

OF_TIME = ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns", "process_time")
OF_DEVICES = ("clock", "clock_cold", "synchronize")
OF_ENGINE = ("take_window", "clock_window", "calibrate", "warm_up")


class Clocks:
    """The functions that read clocks, as they were before any case was called."""

    def __init__(self) -> None:
        owners: list[tuple[Any, tuple[str, ...]]] = [(time, OF_TIME), (engine, OF_ENGINE)]
        owners += [(kind, OF_DEVICES) for kind in devices.BACKENDS.values()]
        self._functions = [(owner, name, getattr(owner, name)) for owner, names in owners for name in names]

    def put_back(self) -> str:
        """Put every function back; returns what was replaced in words, empty if nothing was."""
        replaced = []
        for owner, name, function in self._functions:
            if getattr(owner, name) is not function:
                setattr(owner, name, function)
                replaced.append(f"{owner.__name__.rpartition('.')[2]}.{name}")
        return f"it replaces {', '.join(replaced)}, which times come from" if replaced else ""
