"""A case made ready: equal weights and inputs on both sides, and clear words where it can't be."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.store.records import Case
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import build
from tests import workload as small

ROOT = Path()


def test_the_deep_model_is_620_and_twice_820_and_the_heads_105() -> None:
    model = build(small.case("deep", **small.NOTEBOOK), ROOT).model
    layers: Any = model.body.layers
    counts = [sum(p.numel() for p in part.parameters()) for part in (*layers, model.head)]
    assert counts == [620, 820, 820, 105]


def test_cases_of_equal_workloads_get_equal_inputs_and_reference_weights() -> None:
    one, other = (build(small.case(cell), ROOT) for cell in ("vanilla", "combined"))
    assert torch.equal(one.input, other.input)
    for mine, yours in zip(one.reference.parameters(), other.reference.parameters(), strict=True):
        assert torch.equal(mine, yours)


def test_no_input_and_no_initial_state_is_zero() -> None:
    built = build(small.case("lstm"), ROOT)
    assert all(part.abs().min() > 0 for part in (built.input, *built.layer_state))


@pytest.mark.parametrize("cell", ["combined", "deep", "deep-notebook"])
def test_a_cell_without_a_projection_is_skipped_when_hoisted(cell: str) -> None:
    with pytest.raises(Skip, match="nothing to hoist"):
        build(small.case(cell, "hoisted"), ROOT)


def test_a_single_cell_is_skipped_where_several_layers_are_asked_for() -> None:
    with pytest.raises(Skip, match="num_layers is 2"):
        build(small.case("gru", num_layers=2), ROOT)


def test_a_constructor_that_wants_more_than_sizes_is_named(tmp_path) -> None:
    source = "from torch import nn\nclass Mine(nn.Module):\n    def __init__(self, input, hidden, gate): ...\n"
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(TypeError, match=r"Mine\(input_size, hidden_size\) can't be called: missing .*'gate'"):
        build(Case("mine.py:Mine", "loop", small.workload()), tmp_path)
