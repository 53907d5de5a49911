"""Calibration, warm-up and the energy of a call, on any device."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from rnnbench.harness.devices import Blocks, Call, Device, Meter
from rnnbench.harness.turns.schedule import MAX_CALLS

MIN_BLOCKS = 3  # of which calibration believes the shortest
LONG = 10  # windows: a call this long is believed alone, since no usual stall of a machine doubles it
MIN_COLD_CALLS = 5  # in a window of short calls, however long the flush before each call takes
WARMUP_SHARE = 4  # a warm-up window has a quarter of a window's calls
MAX_WARMUP_WINDOWS = 40
STILL_FALLING = 0.98  # a window this much faster than the best before it means that the case is not warm yet


@dataclass(frozen=True)
class Plan:
    """How a case's windows are made: `batches * batch` calls each, expected to last `seconds`."""

    batches: int
    batch: int
    seconds: float

    @property
    def calls(self) -> int:
        """Calls in one window."""
        return self.batches * self.batch


def calibrate(
    device: Device, call: Call, window_seconds: float, *, cold: bool = False, single_calls: bool = False
) -> Plan:
    """Choose the calls of a window so that it lasts about `window_seconds`, and at least one call.

    Of many short blocks the shortest counts: other work on the machine makes blocks longer, but not shorter. `cold`:
    each call will be made after a flush of the caches; `single_calls`: each will be clocked alone.
    """
    if cold:
        return _calibrate_cold(device, call, window_seconds)
    per_call = _least_seconds(device, call, window_seconds)
    return plan_window(per_call, window_seconds, device.blocks, single_calls=single_calls)


def plan_window(per_call: float, window_seconds: float, blocks: Blocks, *, single_calls: bool = False) -> Plan:
    """Plan a window of about `window_seconds` for calls of this length."""
    wanted = max(1, round(window_seconds / per_call)) if per_call > 0 else MAX_CALLS
    batch = 1 if single_calls else _batch(blocks, per_call)
    batches = max(1, round(wanted / batch))
    return Plan(batches, batch, batches * batch * per_call)


def _least_seconds(device: Device, call: Call, window_seconds: float) -> float:
    """Seconds of a call in the shortest of many short blocks, made for a quarter of a window or more."""
    per_call = device.clock(call, 1, 1).seconds
    while per_call < LONG * window_seconds:
        batch = _batch(device.blocks, per_call)
        batches = MIN_BLOCKS if per_call <= 0 else max(MIN_BLOCKS, round(window_seconds / 4 / (batch * per_call)))
        before, per_call = per_call, min(device.clock(call, batches, batch).batch_seconds) / batch
        if per_call >= before / 2 or batch == MAX_CALLS:  # else the call is shorter than its blocks were made for
            return min(before, per_call)
    return per_call


def _batch(blocks: Blocks, per_call: float) -> int:
    """Calls that are clocked together."""
    if per_call >= blocks.shortest_call:
        return 1
    return max(1, round(min(blocks.seconds / per_call, MAX_CALLS))) if per_call > 0 else MAX_CALLS


def _calibrate_cold(device: Device, call: Call, window_seconds: float) -> Plan:
    """Calibrate with a flush before each call: it counts toward the length of the window, not of the call."""
    clocked = device.clock_cold(call, MIN_BLOCKS)
    per_call, with_flush = min(clocked.batch_seconds), clocked.host_seconds / MIN_BLOCKS
    longest = window_seconds / per_call if per_call > 0 else MAX_CALLS
    affordable = window_seconds / with_flush if with_flush > 0 else MAX_CALLS
    calls = max(1, round(min(longest, max(affordable, MIN_COLD_CALLS))))
    return Plan(calls, 1, calls * per_call)


def warm_up(device: Device, call: Call, plan: Plan, *, cold: bool = False) -> int:
    """Run short windows until they stop getting faster; returns how many were needed.

    A case whose window is a single call is warm after one call, which does all lazy set-up.
    """
    if plan.calls == 1:
        call()
        device.synchronize()
        return 1
    short = max(1, plan.batches // WARMUP_SHARE)
    best = float("inf")
    for number in range(1, MAX_WARMUP_WINDOWS + 1):
        is_warm = number > 1
        clocked = device.clock_cold(call, short) if cold else device.clock(call, short, plan.batch, is_warm=is_warm)
        usual = median(clocked.batch_seconds)
        if usual >= STILL_FALLING * best:
            return number
        best = usual
    return MAX_WARMUP_WINDOWS


def joules_per_call(
    meter: Meter, device: Device, call: Call, plan: Plan, now: Callable[[], float] = time.perf_counter
) -> float:
    """Joules per call, over back-to-back calls for as long as the meter needs; raises Unavailable."""
    calls, start, before = 0, now(), meter.read()
    while now() - start < meter.least_seconds:
        calls += device.clock(call, plan.batches, plan.batch).calls  # returns after the last call has finished
    return meter.joules(before, meter.read()) / calls
