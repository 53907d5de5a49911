"""The machine's best rates, measured in a second or so: the roof that a roofline needs.

A ceiling is the best of several tries, unlike a case's time: what disturbs a try only lowers it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from rnnbench.measure.devices import Device
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import DType
from rnnbench.workloads.prepare import torch_dtype

PRODUCT_SIZES = {"cpu": (256, 512, 1024), "cuda": (2048, 4096, 8192)}
COPY_BYTES = {  # read and written together: what fits each level of cache, and what fits none
    "cpu": tuple(1 << power for power in (15, 18, 20, 22, 24, 27)),
    "cuda": tuple(1 << power for power in (20, 22, 24, 26, 28, 30)),
}
SECONDS_PER_RATE = 0.3  # for all sizes of products, and for all sizes of copies
FEWEST_TRIES, MOST_TRIES = 3, 200
EMPTY_CALLS = 200


def measure(device: Device, name: str, dtype: DType, threads: int) -> Ceiling:
    """The ceiling of a device that torch is set up for; the worker has set the threads."""
    kind = name.partition(":")[0]
    with torch.inference_mode():
        return Ceiling(
            name,
            dtype,
            threads,
            macs_per_second=_products(device, name, torch_dtype(dtype), PRODUCT_SIZES[kind]),
            copies=tuple(_copies(device, name, COPY_BYTES[kind])),
            dispatch_seconds=_dispatch(device, name),
            launch_seconds=_launch(device) if kind == "cuda" else None,
        )


def _products(device: Device, name: str, dtype: torch.dtype, sizes: Iterable[int]) -> float:
    """MACs per second of the best square product."""
    rates, budget = [], SECONDS_PER_RATE
    for size in sizes:
        left, right = (torch.randn(size, size, device=name).to(dtype) for _ in range(2))
        out = torch.empty(size, size, device=name, dtype=dtype)
        seconds, spent = _best(device, lambda: torch.mm(left, right, out=out), budget / 3)  # noqa: B023 - called at once
        rates.append(size**3 / seconds)
        if spent > budget:  # the next would take eight times as long
            break
    return max(rates)


def _copies(device: Device, name: str, sizes: Iterable[int]) -> Iterable[tuple[int, float]]:
    for size in sizes:
        source = torch.ones(size // 2, dtype=torch.uint8, device=name)
        target = torch.zeros_like(source)
        calls = max(1, (1 << 20) // size)  # a small copy is shorter than a look at the clock

        def copy() -> None:
            for _ in range(calls):  # noqa: B023
                target.copy_(source)  # noqa: B023

        seconds, _ = _best(device, copy, SECONDS_PER_RATE / 6)
        yield size, calls * size / seconds


def _dispatch(device: Device, name: str) -> float:
    """Seconds of the host for an operator on no elements."""
    empty = torch.empty(0, device=name)

    def call() -> None:
        for _ in range(EMPTY_CALLS):
            empty.relu_()

    return _best(device, call, 0.05)[0] / EMPTY_CALLS


def _launch(device: Device) -> float:
    """Seconds between kernels that spin for no cycle, queued without a pause."""

    spin: Any = torch.cuda._sleep  # untyped in torch

    def call() -> None:
        for _ in range(EMPTY_CALLS):
            spin(0)

    return _best(device, call, 0.05)[0] / EMPTY_CALLS


def _best(device: Device, call: Callable[[], object], seconds: float) -> tuple[float, float]:
    """The least time of a call that is tried for about `seconds`, and what all tries took."""
    device.clock(call, 1, 1)  # pays for lazy set-up
    found: list[float] = []
    while len(found) < FEWEST_TRIES or (sum(found) < seconds and len(found) < MOST_TRIES):
        found += device.clock(call, 1, 1).batch_seconds
    return min(found), sum(found)
