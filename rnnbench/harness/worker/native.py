"""Kernels in C that reach a processor's own limits, built by this machine's C compiler.

`kernels.c` has them: multiply-adds on registers, and reading memory into registers. No product of matrices can be
faster, whichever library makes it.
"""

import ctypes
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from rnnbench.harness.machine.processor import processor
from rnnbench.kernels.direct import build
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import DType

SOURCE = Path(__file__).with_name("kernels.c")
KERNELS: dict[str, tuple[str, ...]] = {  # name -> definitions for the compiler
    "float": ("-DVALUE=float",),
    "double": ("-DVALUE=double",),
    "bfloat16": ("-DVALUE=float", "-DBFLOAT16_PAIRS"),
}
# Instruction sets that multiply numbers of 16 bits and for which there is no kernel. On a processor without
# instructions for 16 bits, libraries convert the numbers to float32.
OTHER_UNITS: dict[DType, set[str]] = {"bfloat16": {"amx_bf16"}, "float16": {"avx512_fp16", "amx_fp16"}}
IS_X86 = platform.machine() in ("x86_64", "AMD64", "i686")
MIN_SECONDS = 1e-3  # of a call whose time counts
MAX_ROUNDS = 1 << 30  # that together take less than MIN_SECONDS only if the compiler left out the work
TRIES = 3
TRIAL_BYTES = 1 << 15  # of each thread
ALIGNMENT = 1024  # bytes; `reading` reads 16 vectors at a time

KernelCall = Callable[[int], object]  # takes the number of rounds


class NativeKernels:
    """The kernels for one type, run by as many threads at once as the cases have."""

    def __init__(
        self,
        library: ctypes.CDLL,
        threads: int,
        *,
        multiplies: bool = True,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`multiplies`: whether its multiply-adds are those of the type that is wanted, where it has any."""
        self._library = library
        self._threads = threads
        self._now = now
        library.multiply_adds.restype = ctypes.c_double
        library.multiply_adds.argtypes = [ctypes.c_long]
        self.multiplies = multiplies and float(library.multiply_adds(1)) > 0
        library.arithmetic.argtypes = [ctypes.c_long]
        library.reading.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long]

    def try_out(self) -> None:
        """Call each kernel for about a millisecond; raises Unavailable if the compiler left out what it does."""
        if self.multiplies:
            self.macs_per_second(0.0)
        self.bytes_per_second(torch.ones(TRIAL_BYTES * self._threads, dtype=torch.uint8), 0.0)

    def macs_per_second(self, seconds: float) -> float:
        """The best rate of multiply-adds on registers, all threads together, in tries for about `seconds`."""
        per_round = float(self._library.multiply_adds(1))
        return per_round * self._best([self._library.arithmetic] * self._threads, seconds)

    def bytes_per_second(self, memory: torch.Tensor, seconds: float) -> float:
        """The best rate of reading `memory`, a tensor of bytes, again and again; each thread reads its own part."""
        part = memory.numel() // self._threads // ALIGNMENT * ALIGNMENT
        starts = [memory.data_ptr() + thread * part for thread in range(self._threads)]
        works: list[KernelCall] = [partial(self._library.reading, start, part) for start in starts]
        return part * self._best(works, seconds)

    def _best(self, works: list[KernelCall], seconds: float) -> float:
        """The most rounds a second of several works at once; raises Unavailable if they take no time."""
        with ThreadPoolExecutor(len(works)) as pool:
            rounds, tries = 1, TRIES * works
            # The shortest of several tries: a stall of the machine must not make a call seem long.
            while (shortest := min(pool.map(partial(self._seconds, rounds), tries))) < MIN_SECONDS:
                if rounds > MAX_ROUNDS:
                    raise Unavailable("the built kernel does nothing: the compiler left out its work")
                rounds *= 2 if shortest > MIN_SECONDS / 8 else 8
            best, end = 0.0, self._now() + seconds
            while True:
                best = max(best, sum(rounds / taken for taken in pool.map(partial(self._seconds, rounds), works)))
                if self._now() >= end:
                    return best

    def _seconds(self, rounds: int, work: KernelCall) -> float:
        started = self._now()
        work(rounds)
        return self._now() - started


def load(dtype: DType, threads: int, folder: Path) -> NativeKernels:
    """The kernels for a type, built into `folder` unless they are there. Raises Unavailable."""
    kernel = kernel_for(dtype, processor().instruction_sets)
    name = kernel or "float"  # reading memory is the same for all types
    file = folder / f"kernels-{name}.so"
    if not file.exists():
        build(SOURCE, KERNELS[name], file)
    try:
        kernels = NativeKernels(ctypes.CDLL(str(file)), threads, multiplies=kernel is not None)
    except (OSError, AttributeError) as fault:
        raise Unavailable(f"the built kernel can't be loaded: {fault}") from None
    kernels.try_out()
    return kernels


def kernel_for(dtype: DType, instruction_sets: Sequence[str]) -> str | None:
    """The name of the kernel that multiplies a type as fast as a processor with these sets can; None if none does."""
    if dtype in ("float32", "float64"):
        return "float" if dtype == "float32" else "double"
    known = set(instruction_sets)
    if not (IS_X86 and known) or known & OTHER_UNITS.get(dtype, set()):
        return None
    return "bfloat16" if dtype == "bfloat16" and "avx512_bf16" in known else "float"
