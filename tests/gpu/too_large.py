"""`python -m tests.gpu.too_large DEVICE OUT`: a cell that needs more memory than the card has, and a too large batch.

The cell fails and the batch is skipped, each with a message, and the other cases are measured.
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
    """A line for each case that did not end as it should."""
    for measurement in measurements:
        expected = ("measured", "")
        if measurement.case.cell.endswith("Large"):
            expected = ("failed", "out of memory")
        elif measurement.case.workload.batch_size > 32:
            expected = ("skipped", "it needs")
        if measurement.status != expected[0] or not measurement.reason.startswith(expected[1]):
            yield f"{measurement.status} in place of {expected[0]}: {measurement.case.key}: {measurement.reason}"


def write(folder: Path) -> Path:
    """Write the suite and its cell."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "large.py").write_text(CELL, encoding="utf-8")
    (folder / "too-large.toml").write_text(SUITE, encoding="utf-8")
    return folder / "too-large.toml"


def main(arguments: Sequence[str]) -> int:
    """Run the suite and print each case's status and reason."""
    device, out = arguments[0], Path(arguments[1])
    options = ["--device", device, "--out", str(out), "--allow-missing"]
    done = subprocess.run([sys.executable, "-m", "rnnbench", "run", str(write(out)), *options], check=False)
    if done.returncode:
        return done.returncode
    run = max(out.glob("*/run.json"), key=lambda file: file.stat().st_mtime).parent
    measurements = list(last_measurements(run).values())
    for measurement in measurements:
        print(f"{measurement.status:<9} {measurement.case.key}: {measurement.reason}")
    wrong = list(faults(measurements))
    print("\n".join(wrong) or f"{len(measurements)} cases ended as they should")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
