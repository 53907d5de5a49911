"""Energy of a call, measured over back-to-back calls for as long as the device's counter needs."""

import time
from collections.abc import Callable

from rnnbench.harness.devices import Call, Device, Meter
from rnnbench.harness.turns.engine import Plan


def per_call(
    meter: Meter, device: Device, call: Call, plan: Plan, now: Callable[[], float] = time.perf_counter
) -> float:
    """Joules per call, over back-to-back calls for as long as the meter needs; raises Unavailable."""
    calls, start, before = 0, now(), meter.read()
    while now() - start < meter.least_seconds:
        calls += device.clock(call, plan.batches, plan.batch).calls  # returns after the last call has finished
    return meter.joules(before, meter.read()) / calls
