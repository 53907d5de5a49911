"""The best rates of the machine, measured in about a second: the ceilings of a roofline plot.

A ceiling is the best of several tries, unlike the time of a case, since noise only lowers a measured rate. The tries
come in passes that are apart in time, and how far the passes differ is the rate's own spread.

A processor's own limits are reached by the kernels of `kernels.c`, which this machine's C compiler builds:
multiply-adds on registers, and reading memory into registers. No product of matrices can be faster, whichever library
makes it.
"""

import ctypes
import math
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path

import torch

from rnnbench.cells.states import torch_dtype
from rnnbench.harness.devices import Call, Device
from rnnbench.harness.machine.cores import processor
from rnnbench.kernels.direct import build, build_key
from rnnbench.kernels.libraries import product_calls
from rnnbench.store.ceilings import REGISTERS, Ceiling, Rate
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import DType, computed_in

SECONDS_PER_RATE = 0.008  # of one size of a product, a copy or a read, in a pass
SECONDS_PER_CALL = 0.01  # for calls that do nothing
MIN_TRIES = 3
MAX_TRIES = 200
MAX_SIZES_AGAIN = 3  # sizes that are read again later: those of the caches that a core has for itself
MAX_QUEUED = 500  # calls with one kernel each; the queue of a device holds at least twice as many
QUEUE_LEAD = 2  # the device is kept busy first, for this many times the time that queueing takes

KERNEL_SOURCE = Path(__file__).with_name("kernels.c")
KERNEL_DEFINITIONS: dict[str, tuple[str, ...]] = {  # name -> definitions for the compiler
    "float": ("-DVALUE=float",),
    "double": ("-DVALUE=double",),
    "bfloat16": ("-DVALUE=float", "-DBFLOAT16_PAIRS"),
}
# Instruction sets that multiply numbers of 16 bits and for which there is no kernel. On a processor without
# instructions for 16 bits, libraries convert the numbers to float32.
OTHER_UNITS: dict[DType, set[str]] = {"bfloat16": {"amx_bf16"}, "float16": {"avx512_fp16", "amx_fp16"}}
IS_X86 = platform.machine() in ("x86_64", "AMD64", "i686")
MIN_CALL_SECONDS = 1e-3  # of a call whose time counts
RATE_TRIES = 3
READ_ALIGNMENT = 1024  # bytes; `reading` reads 16 vectors at a time

# The library of kernels, and the multiply-adds in a round of one thread; 0 if it has none of the type that is wanted.
Native = tuple[ctypes.CDLL, float]


def measure(
    device: Device, dtype: DType, threads: int, native: Native | None, passes: int = 1, *, again: bool = False
) -> Ceiling:
    """Measure the ceiling of a device. The caller has already set torch's settings and threads.

    `native`: the kernels of a processor, for its own limits; None where there are none. `again`: only the limits that a
    processor may have raised since, in a tenth of the time, to be joined with the whole: a clock that rises during a
    run would let its cases seem faster than possible.
    """
    sizes = device.copy_bytes
    copied = [()] if again else [sizes, *[sizes[:-1]] * (passes - 1)]  # the largest takes longest: once
    read = sizes[:MAX_SIZES_AGAIN] if again else sizes[:-1]
    with torch.inference_mode():
        return reduce(Ceiling.joined, [_one_pass(device, dtype, threads, native, each, read) for each in copied])


def _one_pass(
    device: Device,
    dtype: DType,
    threads: int,
    native: Native | None,
    copied: Sequence[int],
    read: Sequence[int],
) -> Ceiling:
    """Measure each rate once, for these sizes; products and launches only if there are sizes to copy."""
    products = _products(device, torch_dtype(computed_in(dtype))) if copied else {}
    source = torch.ones(max((*copied, 2 * max(read))) // 2, dtype=torch.uint8, device=device.name)
    target = torch.zeros_like(source)
    copies = {size: _best(device, partial(target[: size // 2].copy_, source[: size // 2])) for size in copied}
    reads: list[Rate[int]] = []
    if native is not None:
        library, macs_per_round = native
        if macs_per_round:
            products[REGISTERS] = macs_per_round * rounds_per_second([library.arithmetic] * threads)
        for size in read:
            part = size // threads // READ_ALIGNMENT * READ_ALIGNMENT  # that a thread reads again and again
            starts = [source.data_ptr() + thread * part for thread in range(threads)]
            works = [partial(library.reading, start, part) for start in starts]
            reads.append(Rate(size, part * rounds_per_second(works)))
    launch = partial(device.hold, 0.0) if copied and device.has_queue else None
    return Ceiling(
        device.name,
        dtype,
        threads,
        products=tuple(Rate(*rate) for rate in products.items()),
        copies=tuple(Rate(size, size / seconds) for size, seconds in copies.items()),
        reads=tuple(reads),
        # The host's time. Without a lead the device waits for the host, so that queued work can't hide this time.
        dispatch_seconds=_best(device, torch.empty(0, device=device.name).relu_, SECONDS_PER_CALL, lead=0),
        launch_seconds=None if launch is None else _best(device, launch, SECONDS_PER_CALL),
    )


def _products(device: Device, dtype: torch.dtype) -> dict[str, float]:
    """Return the MACs per second of each library's fastest square product."""
    best: dict[str, float] = {}
    for size in device.product_sizes:
        factor, right = (torch.randn(size, size, device=device.name).to(dtype) for _ in range(2))
        seconds = {library: _best(device, call.multiply) for library, call in product_calls(factor, right).items()}
        best |= {library: max(size**3 / seconds[library], best.get(library, 0.0)) for library in seconds}
        if 8 * min(seconds.values()) > SECONDS_PER_RATE:  # of the next size
            break
    return best


def _best(device: Device, call: Call, seconds: float = SECONDS_PER_RATE, lead: float = QUEUE_LEAD) -> float:
    """Return the shortest time of a call, from tries for about `seconds`.

    A device with a queue gets all calls of a try before it starts them, so that it never waits for the host: launching
    a small copy takes the host longer than the copy takes the device.
    """
    first = device.clock(call, MIN_TRIES, 1)
    per_call = max(min(first.batch_seconds), 1e-9)
    spent = first.seconds
    batch = min(math.ceil(device.blocks.seconds / per_call), MAX_QUEUED)
    tries = first.batch_seconds if batch == 1 else []
    while len(tries) < MIN_TRIES or (spent < seconds and len(tries) < MAX_TRIES):
        batches = min(max(1, round((seconds - spent) / (batch * per_call))), MAX_QUEUED // batch)
        lead_seconds = lead * batches * batch * first.submit_seconds / MIN_TRIES
        clocked = device.clock(call, batches, batch, lead_seconds=lead_seconds)
        tries += [batch_seconds / batch for batch_seconds in clocked.batch_seconds]
        spent += clocked.seconds + lead_seconds
    return min(tries)


def rounds_per_second(
    works: Sequence[Callable[[int], object]],
    seconds: float = SECONDS_PER_RATE,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the most rounds of several works at once, each of which takes a number of rounds, in about `seconds`."""

    def clocked(rounds: int, work: Callable[[int], object]) -> float:
        started = now()
        work(rounds)
        return now() - started

    with ThreadPoolExecutor(len(works)) as pool:
        rounds = 1
        tries = [*works] * RATE_TRIES
        # The shortest of several tries: a stall of the machine must not make a call seem long.
        while (shortest := min(pool.map(partial(clocked, rounds), tries))) < MIN_CALL_SECONDS:
            rounds *= 2 if shortest > MIN_CALL_SECONDS / 8 else 8
        best = 0.0
        end = now() + seconds
        while True:
            best = max(best, sum(rounds / taken for taken in pool.map(partial(clocked, rounds), works)))
            if now() >= end:
                return best


def load(dtype: DType, folder: Path) -> Native:
    """Return the kernels for a type, built into `folder` unless they are there. Raises Unavailable."""
    kernel = kernel_for(dtype, processor().instruction_sets)
    name = kernel or "float"  # reading memory is the same for all types
    file = folder / f"kernels-{name}-{build_key(KERNEL_SOURCE, KERNEL_DEFINITIONS[name])}.so"
    if not file.exists():
        build(KERNEL_SOURCE, KERNEL_DEFINITIONS[name], file)
    try:
        library = ctypes.CDLL(str(file))
    except OSError as fault:
        file.unlink(missing_ok=True)  # so that it is built again, perhaps by another compiler
        raise Unavailable(f"the built kernel can't be loaded: {fault}") from None
    library.multiply_adds.restype = ctypes.c_double
    library.multiply_adds.argtypes = library.arithmetic.argtypes = [ctypes.c_long]
    library.reading.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return library, float(library.multiply_adds(1)) if kernel else 0.0


def kernel_for(dtype: DType, instruction_sets: Sequence[str]) -> str | None:
    """Return the kernel that multiplies a type as fast as a processor with these sets can; None if none does."""
    dtype = computed_in(dtype)
    if dtype in ("float32", "float64"):
        return "float" if dtype == "float32" else "double"
    names = set(instruction_sets)
    if not (IS_X86 and names) or names & OTHER_UNITS.get(dtype, set()):
        return None
    return "bfloat16" if dtype == "bfloat16" and "avx512_bf16" in names else "float"
