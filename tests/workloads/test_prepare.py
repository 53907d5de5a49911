"""Preparing a case: equal weights and inputs on both sides, or a clear message why it can't be built."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.workloads.implementations import Skip, flatten_weights
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

ROOT = Path()


def test_cases_of_equal_workloads_get_equal_inputs_and_reference_weights() -> None:
    vanilla, combined = (build(small.case(cell), ROOT) for cell in ("vanilla", "combined"))
    assert torch.equal(vanilla.input, combined.input)
    for mine, yours in zip(vanilla.reference.parameters(), combined.reference.parameters(), strict=True):
        assert torch.equal(mine, yours)


def test_a_stacked_cell_is_skipped_where_two_directions_or_dropout_are_asked_for() -> None:
    for more in ({"bidirectional": True}, {"dropout": 0.5}):
        with pytest.raises(Skip, match="the cell has layers of its own"):
            build(small.case("deep", **more), ROOT)


@pytest.mark.parametrize("implementation", ["transposed", "compiled", "prepacked"])
def test_weights_that_are_stored_transposed_have_the_same_values(implementation: Any) -> None:
    plain = build(small.case("lstm"), ROOT).model.body
    turned = build(small.case("lstm", implementation), ROOT).model.body
    for (name, weight), stored in zip(plain.named_parameters(), turned.parameters(), strict=True):
        assert torch.equal(weight, stored), name
        assert stored.is_contiguous() == (stored.dim() == 1)


def test_lengths_vary_over_the_whole_range_and_are_the_same_for_all_arms() -> None:
    built = build(small.case("gru", lengths="varied", seq_len=7, batch_size=200), ROOT)
    reference: Any = built.reference.body
    assert set(reference.lengths.tolist()) == set(range(1, 8))
    mask: Any = built.model.body
    assert torch.equal(mask.mask.sum(0)[:, 0], reference.lengths)


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("cell", ["vanilla", "combined", "deep"])
@pytest.mark.parametrize("how", ["loop", "hoisted", "torch.nn-cell"])
def test_an_elman_cell_with_relu_is_that_of_torch(cell: str, how: Any, phase: Any) -> None:
    case = small.case(cell, how, phase=phase, nonlinearity="relu")
    if how == "hoisted" and cell != "vanilla":
        with pytest.raises(Skip, match="nothing to hoist"):
            build(case, Path())
        return
    if how == "torch.nn-cell":
        case = replace(case, cell="torch.nn.RNNCell")
    built = build(case, Path())
    assert str(observe(built).parity) == "agrees"
    output = built.model.body(built.input, built.state)[0]
    assert float(output.detach().min()) == 0.0


def test_a_sigmoid_has_no_reference_and_a_gated_cell_no_choice() -> None:
    built = build(small.case("vanilla", reference="none", nonlinearity="sigmoid"), Path())
    assert str(observe(built).parity) == "not compared: there is no reference"
    assert float(built.model.body(built.input, built.state)[0].detach().min()) > 0
    for cell in ("lstm", "gru", "min_gru"):
        with pytest.raises(Skip, match="has no argument `nonlinearity`: it can't be relu"):
            build(small.case(cell, nonlinearity="relu"), Path())


@pytest.mark.parametrize("task", ["many_to_many", "many_to_one", "one_to_many"])
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_softmax_head_gives_shares_and_agrees(task: str, phase: str) -> None:
    case = small.case("vanilla", phase=phase, task=task, head="softmax", output_size=5)
    built = build(case, Path())
    output, _ = built.model(built.input, built.state)
    assert torch.allclose(output.sum(-1), torch.ones_like(output[..., 0]))
    assert bool((output > 0).all())
    assert str(observe(built).parity) == "agrees"


def test_weights_are_flattened_in_bfloat16_as_torch_does_in_other_types(monkeypatch: pytest.MonkeyPatch) -> None:
    types: Any = torch.backends.cudnn.CUDNN_TENSOR_DTYPES
    before, seen = set(types), list[set[torch.dtype]]()
    layer = nn.GRU(2, 3)
    monkeypatch.setattr(nn.GRU, "flatten_parameters", lambda layer: seen.append(set(types)))
    flatten_weights(nn.Sequential(layer))
    assert seen == [before | {torch.bfloat16}]
    assert types == before
