"""The machine's best rates, measured in a second or so: the roof that a roofline needs.

A ceiling is the best of several tries, unlike a case's time: what disturbs a try only lowers it.
"""

import math
from collections.abc import Iterable
from functools import partial

import torch

from rnnbench.harness.devices import Call, Device
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType
from rnnbench.workloads.prepare import torch_dtype

SECONDS_PER_RATE = 0.3  # for all sizes of products, and for all sizes of copies
SECONDS_PER_CALL = 0.05  # for calls that have nothing to do
MIN_TRIES, MAX_TRIES = 3, 200
MAX_QUEUED = 500  # calls of one kernel each; a device's queue holds at least twice as many
LEAD = 2  # times what queueing takes: for so long the device is kept busy before


def measure(device: Device, dtype: DType, threads: int) -> Ceiling:
    """The ceiling of a device that torch is set up for; the worker has set the threads."""
    launch = device.launch()
    with torch.inference_mode():
        return Ceiling(
            device.name,
            dtype,
            threads,
            macs_per_second=_products(device, torch_dtype(dtype)),
            copies=tuple(_copies(device)),
            # The host's time, which the device waits for: it is not to be hidden by what is queued.
            dispatch_seconds=_best(device, torch.empty(0, device=device.name).relu_, SECONDS_PER_CALL, lead=0)[0],
            launch_seconds=None if launch is None else _best(device, launch, SECONDS_PER_CALL)[0],
        )


def _products(device: Device, dtype: torch.dtype) -> float:
    """MACs per second of the best square product."""
    rates, budget = [], SECONDS_PER_RATE
    for size in device.product_sizes:
        left, right = (torch.randn(size, size, device=device.name).to(dtype) for _ in range(2))
        out = torch.empty(size, size, device=device.name, dtype=dtype)
        seconds, spent = _best(device, partial(torch.mm, left, right, out=out), budget / 3)
        rates.append(size**3 / seconds)
        if spent > budget:  # the next would take eight times as long
            break
    return max(rates)


def _copies(device: Device) -> Iterable[tuple[int, float]]:
    for size in device.copy_bytes:
        source = torch.ones(size // 2, dtype=torch.uint8, device=device.name)
        target = torch.zeros_like(source)
        seconds, _ = _best(device, partial(target.copy_, source), SECONDS_PER_RATE / 6)
        yield size, size / seconds


def _best(device: Device, call: Call, seconds: float, lead: float = LEAD) -> tuple[float, float]:
    """The least time of a call that is tried for about `seconds`, and what all tries took.

    A device that is given work has all calls of a try in its queue before it begins with them, so that it never waits
    for the host, which takes longer to launch a small copy than the device takes to make it.
    """
    first = device.clock(call, MIN_TRIES, 1)
    each, spent = max(min(first.batch_seconds), 1e-9), first.seconds
    batch = min(math.ceil(device.blocks.seconds / each), MAX_QUEUED)
    tries = first.batch_seconds if batch == 1 else []
    while len(tries) < MIN_TRIES or (spent < seconds and len(tries) < MAX_TRIES):
        batches = min(max(1, round((seconds - spent) / (batch * each))), MAX_QUEUED // batch)
        lead_seconds = lead * batches * batch * first.submit_seconds / MIN_TRIES
        clocked = device.clock(call, batches, batch, lead_seconds=lead_seconds)
        tries += [one / batch for one in clocked.batch_seconds]
        spent += clocked.seconds + lead_seconds
    return min(tries), spent
