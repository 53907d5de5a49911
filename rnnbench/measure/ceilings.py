"""The machine's best rates, measured in a second or so: the roof that a roofline needs.

A ceiling is the best of several tries, unlike a case's time: what disturbs a try only lowers it.
"""

from collections.abc import Iterable

import torch

from rnnbench.measure.devices import Call, Device
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType
from rnnbench.workloads.prepare import torch_dtype

SECONDS_PER_RATE = 0.3  # for all sizes of products, and for all sizes of copies
FEWEST_TRIES, MOST_TRIES = 3, 200
EMPTY_CALLS = 200


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
            dispatch_seconds=_each(device, torch.empty(0, device=device.name).relu_),
            launch_seconds=None if launch is None else _each(device, launch),
        )


def _products(device: Device, dtype: torch.dtype) -> float:
    """MACs per second of the best square product."""
    rates, budget = [], SECONDS_PER_RATE
    for size in device.product_sizes:
        left, right = (torch.randn(size, size, device=device.name).to(dtype) for _ in range(2))
        out = torch.empty(size, size, device=device.name, dtype=dtype)
        seconds, spent = _best(device, lambda: torch.mm(left, right, out=out), budget / 3)  # noqa: B023 - called at once
        rates.append(size**3 / seconds)
        if spent > budget:  # the next would take eight times as long
            break
    return max(rates)


def _copies(device: Device) -> Iterable[tuple[int, float]]:
    for size in device.copy_bytes:
        source = torch.ones(size // 2, dtype=torch.uint8, device=device.name)
        target = torch.zeros_like(source)
        calls = max(1, (1 << 20) // size)  # a small copy is shorter than a look at the clock

        def copy() -> None:
            for _ in range(calls):  # noqa: B023
                target.copy_(source)  # noqa: B023

        seconds, _ = _best(device, copy, SECONDS_PER_RATE / 6)
        yield size, calls * size / seconds


def _each(device: Device, empty: Call) -> float:
    """Seconds of a call that has nothing to do, of many back to back."""

    def call() -> None:
        for _ in range(EMPTY_CALLS):
            empty()

    return _best(device, call, 0.05)[0] / EMPTY_CALLS


def _best(device: Device, call: Call, seconds: float) -> tuple[float, float]:
    """The least time of a call that is tried for about `seconds`, and what all tries took."""
    device.clock(call, 1, 1)  # pays for lazy set-up
    found: list[float] = []
    while len(found) < FEWEST_TRIES or (sum(found) < seconds and len(found) < MOST_TRIES):
        found += device.clock(call, 1, 1).batch_seconds
    return min(found), sum(found)
