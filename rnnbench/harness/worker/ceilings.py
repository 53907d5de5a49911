"""The best rates of the machine, measured in about a second: the ceilings of a roofline plot.

A ceiling is the best of several tries, unlike the time of a case, since noise only lowers a measured rate. The tries
come in passes that are apart in time, and how far the passes differ is the rate's own spread.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial, reduce

import torch

from rnnbench.harness.devices import Call, Cuda, Device
from rnnbench.harness.worker.native import NativeKernels
from rnnbench.kernels.libraries import convolution, product_calls
from rnnbench.store.ceilings import REGISTERS, Ceiling, LibraryRate, SizedRate
from rnnbench.store.records import DType
from rnnbench.workloads.prepare import torch_dtype

SECONDS_PER_RATE = 0.008  # of one size of a product, a copy or a read, in a pass
SECONDS_PER_CALL = 0.01  # for calls that do nothing
MIN_TRIES, MAX_TRIES = 3, 200
MAX_AGAIN = 3  # sizes that are read again later: those of the caches that a core has for itself
MAX_QUEUED = 500  # calls with one kernel each; the queue of a device holds at least twice as many
LEAD = 2  # the device is kept busy first, for this many times the time that queueing takes


def measure(device: Device, dtype: DType, threads: int, kernels: NativeKernels | None, passes: int = 1) -> Ceiling:
    """Measure the ceiling of a device. The caller has already set torch's settings and threads.

    `kernels`: those of a processor, for its own limits; None where there are none.
    """
    with torch.inference_mode():
        sizes = [device.copy_bytes, *[device.copy_bytes[:-1]] * (passes - 1)]  # the largest takes longest: once
        return reduce(Ceiling.joined, (_one_pass(device, dtype, threads, kernels, each) for each in sizes))


def measure_again(device: Device, dtype: DType, threads: int, kernels: NativeKernels | None) -> Ceiling:
    """A part of `measure`, in a tenth of its time: the limits that a processor may have raised since.

    To be joined with the whole: a clock that rises during a run would let its cases seem faster than possible.
    """
    with torch.inference_mode():
        return Ceiling(
            device.name,
            dtype,
            threads,
            products=tuple(LibraryRate(*rate) for rate in _registers(kernels)),
            copies=(),
            reads=tuple(SizedRate(*rate) for rate in _reads(kernels, device.copy_bytes[:MAX_AGAIN])),
            dispatch_seconds=_dispatch_seconds(device),
            launch_seconds=None,
        )


def _one_pass(
    device: Device, dtype: DType, threads: int, kernels: NativeKernels | None, sizes: Sequence[int]
) -> Ceiling:
    launch = device.launch() if isinstance(device, Cuda) else None
    products = [*_products(device, torch_dtype(dtype)), *_registers(kernels)]
    return Ceiling(
        device.name,
        dtype,
        threads,
        products=tuple(LibraryRate(*rate) for rate in products),
        copies=tuple(SizedRate(*rate) for rate in _copies(device, sizes)),
        reads=tuple(SizedRate(*rate) for rate in _reads(kernels, device.copy_bytes[:-1])),
        dispatch_seconds=_dispatch_seconds(device),
        launch_seconds=None if launch is None else _best(device, launch, SECONDS_PER_CALL)[0],
    )


def _products(device: Device, dtype: torch.dtype) -> Iterator[tuple[str, float]]:
    """MACs per second of each library's fastest square product."""
    best: dict[str, float] = {}
    for size in device.product_sizes:
        left, right = (torch.randn(size, size, device=device.name).to(dtype) for _ in range(2))
        calls = {name: call.multiply for name, call in product_calls(left, right).items()}
        if (as_convolution := convolution(left, right)) is not None:
            calls["convolution"] = as_convolution
        seconds = {library: _best(device, call, SECONDS_PER_RATE)[0] for library, call in calls.items()}
        best |= {library: max(size**3 / seconds[library], best.get(library, 0.0)) for library in seconds}
        if 8 * min(seconds.values()) > SECONDS_PER_RATE:  # of the next size
            break
    yield from best.items()


def _registers(kernels: NativeKernels | None) -> Iterator[tuple[str, float]]:
    if kernels is not None and kernels.multiplies:
        yield REGISTERS, kernels.macs_per_second(SECONDS_PER_RATE)


def _dispatch_seconds(device: Device) -> float:
    """The host's time. Without a lead the device waits for the host, so that queued work can't hide this time."""
    return _best(device, torch.empty(0, device=device.name).relu_, SECONDS_PER_CALL, lead=0)[0]


def _copies(device: Device, sizes: Sequence[int]) -> Iterator[tuple[int, float]]:
    source = torch.ones(max(sizes) // 2, dtype=torch.uint8, device=device.name)
    target = torch.zeros_like(source)
    for size in sizes:
        seconds, _ = _best(device, partial(target[: size // 2].copy_, source[: size // 2]), SECONDS_PER_RATE)
        yield size, size / seconds


def _reads(kernels: NativeKernels | None, sizes: Sequence[int]) -> Iterator[tuple[int, float]]:
    if kernels is not None:
        memory = torch.ones(max(sizes), dtype=torch.uint8)
        for size in sizes:
            yield size, kernels.bytes_per_second(memory[:size], SECONDS_PER_RATE)


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
