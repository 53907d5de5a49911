"""Honest cells are never suspect; `tests/cheats` has those that are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.store.records import DType, Implementation
from rnnbench.workloads.prepare import build
from rnnbench.workloads.referee import suspicions
from tests.doubles import workload as small


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("cell", "implementation", "axes"),
    [
        ("lstm", "loop", {}),
        ("gru", "hoisted", {"phase": "training"}),
        ("vanilla", "transposed", {"lengths": "varied"}),
        ("deep", "loop", {}),
        ("gru", "torch.nn-cell", {"num_layers": 2, "bidirectional": True}),
    ],
)
def test_a_cell_of_rnnbench_is_not_suspect(
    dtype: DType, cell: str, implementation: Implementation, axes: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    sizes = {"batch_size": 4, "seq_len": 40, "input_size": 16, "hidden_size": 32}
    built = build(small.case(cell, implementation, dtype=dtype, **sizes, **axes), Path())
    assert suspicions.of_case(built, None) == ""
    if dtype in suspicions.JUDGED:
        assert suspicions.error_ratio(built) < suspicions.MAX_ERROR_RATIO / 3
