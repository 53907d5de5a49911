"""The processor's caches: the size of the last level, and how to fill it with other data."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rnnbench.harness.machine.cores import SYSTEM, allowed_cores

UNKNOWN_BYTES = 256 << 20  # assumed size of the last level if the system does not report it
MARGIN = 1.5  # caches evict the oldest data first, but not in strict order


def flush() -> None:
    """Read and write more than the last level of the allowed cores holds; torch's threads share the work."""
    _block(int(MARGIN * (last_level_bytes(tuple(allowed_cores())) or UNKNOWN_BYTES))).add_(1)


@cache
def last_level_bytes(cores: Sequence[int], root: Path = SYSTEM) -> int:
    """Bytes of the last cache level of these cores; a shared cache counts once; 0 if the size is unknown."""
    sizes: dict[str, int] = {}  # key: the cores that share a cache
    try:
        for core in cores:
            levels = [file.parent for file in (root / f"cpu{core}" / "cache").glob("index*/level")]
            last = max(levels, key=lambda index: int((index / "level").read_text()), default=None)
            if last is not None:
                size = int((last / "size").read_text().strip().rstrip("K"))
                sizes[(last / "shared_cpu_list").read_text()] = 1024 * size
    except (OSError, ValueError):  # a file is missing, as on many ARM machines, or holds something else
        return 0
    return sum(sizes.values())


@cache
def _block(size: int) -> Tensor:
    """A buffer that lives as long as the process; not an inference tensor, so every autograd mode can write to it."""
    with torch.inference_mode(False):
        return torch.zeros(size // 8, dtype=torch.int64)
