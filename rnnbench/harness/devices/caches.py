"""The processor's caches: how much the last level holds, and how to fill it with something else."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rnnbench.harness.machine.cores import SYSTEM, allowed_cores

UNKNOWN_BYTES = 256 << 20  # taken for the last level where the system does not tell
MARGIN = 1.5  # caches forget what is oldest, but not strictly in that order


def flush() -> None:
    """Read and write more than the last level of the allowed cores holds, each thread of torch its share."""
    _block(int(MARGIN * (last_level_bytes(tuple(allowed_cores())) or UNKNOWN_BYTES))).add_(1)


@cache
def last_level_bytes(cores: Sequence[int], root: Path = SYSTEM) -> int:
    """Bytes of the last level over these cores, what several of them share counted once; 0 where it is not known."""
    sizes: dict[str, int] = {}  # by the cores that share one
    for core in cores:
        levels = [file.parent for file in (root / f"cpu{core}" / "cache").glob("index*/level")]
        last = max(levels, key=lambda index: int((index / "level").read_text()), default=None)
        if last is not None:
            if not (last / "size").exists():  # as on many ARM machines
                return 0
            sizes[(last / "shared_cpu_list").read_text()] = 1024 * int((last / "size").read_text().strip().rstrip("K"))
    return sum(sizes.values())


@cache
def _block(size: int) -> Tensor:
    """Kept for the life of the process; a normal tensor, which may be written to in every mode of autograd."""
    with torch.inference_mode(False):
        return torch.zeros(size // 8, dtype=torch.int64)
