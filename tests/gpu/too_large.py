"""`python -m tests.gpu.too_large DEVICE OUT`: a cell that asks for more than the card has, and a batch that can't fit.

The first fails in words, the second is skipped in words, and the cases beside them are measured.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rnnbench.store.folder import last_measurements
from rnnbench.store.records import Measurement

CELL = """
import torch
from torch import nn


class Large(nn.RNNCell):
    def forward(self, input, h):
        torch.empty(1 << 44, dtype=torch.uint8, device=input.device)
        return super().forward(input, h)
"""
SUITE = """
name = "too-large"

[measure]
replicates = 2
precision = 0.5

[defaults]
reference = "rnn"
seq_len = 8

[[sweep]]
cell = ["vanilla", "large.py:Large"]

[[sweep]]
cell = ["vanilla"]
batch_size = 4_000_000_000
"""


def faults(measurements: Iterable[Measurement]) -> Iterable[str]:
    """What is wrong with how the cases ended."""
    for one in measurements:
        wanted = ("measured", "")
        if one.case.cell.endswith("Large"):
            wanted = ("failed", "out of memory")
        elif one.case.workload.batch_size > 32:
            wanted = ("skipped", "it needs")
        if one.status != wanted[0] or not one.reason.startswith(wanted[1]):
            yield f"{one.status} in place of {wanted[0]}: {one.case.key}: {one.reason}"


def write(folder: Path) -> Path:
    """The suite and its cell."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "large.py").write_text(CELL, encoding="utf-8")
    (folder / "too-large.toml").write_text(SUITE, encoding="utf-8")
    return folder / "too-large.toml"


def main(arguments: Sequence[str]) -> int:
    """Run, and print why each case was not measured."""
    device, out = arguments[0], Path(arguments[1])
    given = ["--device", device, "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "rnnbench", "run", str(write(out)), *given], check=False)
    if done.returncode:
        return done.returncode
    run = max(out.glob("*/run.json"), key=lambda file: file.stat().st_mtime).parent
    found = list(last_measurements(run).values())
    for one in found:
        print(f"{one.status:<9} {one.case.key}: {one.reason}")
    wrong = list(faults(found))
    print("\n".join(wrong) or f"{len(found)} cases ended as they should")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
