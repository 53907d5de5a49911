"""`python -m tests.validation limits`: the rates of the C kernels against likwid-bench, whose kernels are assembler.

In turns, the best of several tries each, since noise only lowers a rate. likwid-bench comes with Debian's package
`likwid`; its kernels for AVX-512 or AVX with multiply-adds are used.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from rnnbench.harness.machine.processor import processor
from rnnbench.harness.worker.native import NativeKernels, load
from rnnbench.store.records import DType

TRIES = 12
SECONDS = 0.2
READ_BYTES = (16 << 10, 256 << 10, 8 << 20)  # in the first cache, the second, and beyond
ARITHMETIC: dict[DType, str] = {"float32": "peakflops_sp_{}_fma", "float64": "peakflops_{}_fma"}


def limits() -> pd.DataFrame:
    """A row for each rate, in billions a second: multiply-adds of a type, or bytes read of a block of a size."""
    likwid = shutil.which("likwid-bench")
    if likwid is None:
        raise SystemExit("likwid-bench is not installed; Debian's package is `likwid`")
    vectors = "avx512" if "avx512f" in processor().instruction_sets else "avx"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kernels = {dtype: load(dtype, 1, Path(folder)) for dtype in ARITHMETIC}
        for dtype, test in ARITHMETIC.items():
            own = partial(kernels[dtype].macs_per_second, SECONDS)
            other = partial(_likwid, likwid, test.format(vectors), 16 << 10, r"MFlops/s:\s+([\d.]+)", 1e6 / 2)
            rows.append({"rate": f"multiply-adds, {dtype}"} | _compared(own, other))
        for size in READ_BYTES:
            own = partial(_reading, kernels["float32"], size)
            other = partial(_likwid, likwid, f"load_{vectors}", size, r"MByte/s:\s+([\d.]+)", 1e6)
            rows.append({"rate": f"reading {size >> 10} KiB"} | _compared(own, other))
    return pd.DataFrame(rows)


def _compared(own: Callable[[], float], other: Callable[[], float]) -> dict[str, float]:
    pairs = [(own(), other()) for _ in range(TRIES)]
    best, likwid = (max(rates) for rates in zip(*pairs, strict=True))
    return {"rnnbench": best / 1e9, "likwid-bench": likwid / 1e9, "ratio": best / likwid}


def _reading(kernels: NativeKernels, size: int) -> float:
    return kernels.bytes_per_second(torch.ones(size, dtype=torch.uint8), SECONDS)


def _likwid(program: str, test: str, size: int, pattern: str, unit: float) -> float:
    """A rate of likwid-bench on one core, in units a second."""
    command = [program, "-t", test, "-w", f"S0:{size}B:1", "-s", "1"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(pattern, output)
    assert match is not None, output
    return float(match[1]) * unit
