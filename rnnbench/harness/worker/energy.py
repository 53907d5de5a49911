"""Energy of a call, from calls back to back for as long as the device's counter needs."""

import time
from collections.abc import Callable

from rnnbench.harness.devices import Call, Device, Meter
from rnnbench.harness.turns.engine import Plan


def per_call(
    meter: Meter, device: Device, call: Call, plan: Plan, now: Callable[[], float] = time.perf_counter
) -> float:
    """Joules of one of many calls back to back, over as long as the meter needs; raises Unavailable."""
    calls, start, before = 0, now(), meter.read()
    while now() - start < meter.least_seconds:
        calls += device.clock(call, plan.batches, plan.batch).calls  # it waits for the last of them
    return meter.joules(before, meter.read()) / calls
