"""The best rates of the machine, measured in about a second: the ceilings of a roofline plot.

A ceiling is the best of several tries, unlike the time of a case, since noise only lowers a measured rate.
"""

import math
from collections.abc import Iterable
from functools import partial

import torch

from rnnbench.harness.devices import Call, Device
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType
from rnnbench.workloads.prepare import torch_dtype

SECONDS_PER_RATE = 0.3  # for the products of all sizes, and again for the copies of all sizes
SECONDS_PER_CALL = 0.05  # for calls that do nothing
MIN_TRIES, MAX_TRIES = 3, 200
MAX_QUEUED = 500  # calls with one kernel each; the queue of a device holds at least twice as many
LEAD = 2  # the device is kept busy first, for this many times the time that queueing takes


def measure(device: Device, dtype: DType, threads: int) -> Ceiling:
    """Measure the ceiling of a device. The caller has already set torch's settings and threads."""
    launch = device.launch()
    with torch.inference_mode():
        return Ceiling(
            device.name,
            dtype,
            threads,
            macs_per_second=_products(device, torch_dtype(dtype)),
            copies=tuple(_copies(device)),
            # The host's time. Without a lead the device waits for the host, so that queued work can't hide this time.
            dispatch_seconds=_best(device, torch.empty(0, device=device.name).relu_, SECONDS_PER_CALL, lead=0)[0],
            launch_seconds=None if launch is None else _best(device, launch, SECONDS_PER_CALL)[0],
        )


def _products(device: Device, dtype: torch.dtype) -> float:
    """MACs per second of the fastest square product."""
    rates, budget = [], SECONDS_PER_RATE
    for size in device.product_sizes:
        left, right = (torch.randn(size, size, device=device.name).to(dtype) for _ in range(2))
        out = torch.empty(size, size, device=device.name, dtype=dtype)
        seconds, spent = _best(device, partial(torch.mm, left, right, out=out), budget / 3)
        rates.append(size**3 / seconds)
        if spent > budget:  # the next size would take eight times as long
            break
    return max(rates)


def _copies(device: Device) -> Iterable[tuple[int, float]]:
    for size in device.copy_bytes:
        source = torch.ones(size // 2, dtype=torch.uint8, device=device.name)
        target = torch.zeros_like(source)
        seconds, _ = _best(device, partial(target.copy_, source), SECONDS_PER_RATE / 6)
        yield size, size / seconds


def _best(device: Device, call: Call, seconds: float, lead: float = LEAD) -> tuple[float, float]:
    """The shortest time of a call, from tries for about `seconds`, and the total time of all tries.

    A device with a queue gets all calls of a try before it starts them, so that it never waits for the host: launching
    a small copy takes the host longer than the copy takes the device.
    """
    first = device.clock(call, MIN_TRIES, 1)
    per_call, spent = max(min(first.batch_seconds), 1e-9), first.seconds
    batch = min(math.ceil(device.blocks.seconds / per_call), MAX_QUEUED)
    tries = first.batch_seconds if batch == 1 else []
    while len(tries) < MIN_TRIES or (spent < seconds and len(tries) < MAX_TRIES):
        batches = min(max(1, round((seconds - spent) / (batch * per_call))), MAX_QUEUED // batch)
        lead_seconds = lead * batches * batch * first.submit_seconds / MIN_TRIES
        clocked = device.clock(call, batches, batch, lead_seconds=lead_seconds)
        tries += [batch_seconds / batch for batch_seconds in clocked.batch_seconds]
        spent += clocked.seconds + lead_seconds
    return min(tries), spent
