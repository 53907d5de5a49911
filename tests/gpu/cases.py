"""The cases of the checks on a GPU, independent of the suites; on a CPU they are smaller and only try the program."""

import os
from dataclasses import replace
from typing import Any

import pytest

from rnnbench.harness import devices
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    Case,
    Phase,
    Reference,
)
from tests.doubles import workload as small

DEVICE = os.environ.get("DEVICE", "cuda")
NEEDS_DEVICE = [pytest.mark.cuda, pytest.mark.skipif(bool(devices.why_not(DEVICE)), reason=devices.why_not(DEVICE))]
ON_CPU = devices.is_shared(DEVICE)
BATCH, HIDDEN = (4, 32) if ON_CPU else (32, 512)


def case(
    layer: Reference, implementation: Implementation, length: int, phase: Phase = "inference", **changes: Any
) -> Case:
    """Return a case of a layer of torch.nn, or of the cell of that name."""
    sizes = dict.fromkeys(("input_size", "hidden_size", "output_size"), HIDDEN)
    lengths = {"batch_size": BATCH, "seq_len": min(length, 16) if ON_CPU else length}
    axes: dict[str, Any] = {"device": DEVICE, "dtype": "float32", "phase": phase, **sizes, **lengths, **changes}
    if implementation.startswith("torch.nn"):
        return replace(small.reference_case(layer, **axes), implementation=implementation)
    return small.case(str(layer), implementation, reference=layer, **axes)
