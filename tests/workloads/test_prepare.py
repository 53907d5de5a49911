"""A case made ready: equal weights and inputs on both sides, what is counted, and clear words where it can't be."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.store.records import Case
from rnnbench.workloads.counts import count
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import build, describe
from tests import workload as small

ROOT = Path()
NOTEBOOK: dict[str, Any] = {
    "batch_size": 32,
    "seq_len": 5,
    "input_size": 10,
    "hidden_size": 20,
    "output_size": 5,
    "dtype": "float32",
}


@pytest.mark.parametrize(
    ("cell", "parameters"), [("vanilla", 745), ("combined", 725), ("deep", 2365), ("deep-notebook", 2365)]
)
def test_torchinfo_counts_the_notebooks_parameters(cell: str, parameters: int) -> None:
    assert describe(build(small.case(cell, **NOTEBOOK), ROOT)).parameters == parameters


def test_the_deep_model_is_620_and_twice_820_and_the_heads_105() -> None:
    model = build(small.case("deep", **NOTEBOOK), ROOT).model
    layers: Any = model.body.layers
    counts = [sum(p.numel() for p in part.parameters()) for part in (*layers, model.head)]
    assert counts == [620, 820, 820, 105]


def test_torchinfos_totals_are_the_ones_that_the_notebook_prints() -> None:
    found = describe(build(small.case("deep", **NOTEBOOK), ROOT))
    sizes = (found.input_bytes, found.forward_backward_bytes, found.parameter_bytes)
    assert found.mult_adds is not None
    assert f"{found.mult_adds / 1e6:.2f}" == "0.08"
    assert all(size is not None for size in sizes)
    assert [f"{size / 1e6:.2f}" for size in sizes if size] == ["0.01", "0.02", "0.01"]
    assert f"{sum(size for size in sizes if size) / 1e6:.2f}" == "0.04"


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_call_is_counted_and_leaves_no_gradient(phase: str) -> None:
    built = build(small.case("vanilla", phase=phase), ROOT)
    found = describe(built)
    counts = count(built.timed_call(), built.input.device)
    assert (found.macs, found.operators) == (counts.macs, counts.operators)
    assert (found.allocations, found.peak_bytes) == (counts.allocations, counts.peak_bytes)
    assert counts.macs > 0
    assert counts.operators > 0
    again = build(small.case("vanilla", phase=phase), ROOT)
    describe(again)
    assert all(parameter.grad is None for parameter in again.model.parameters())


def test_the_reference_has_as_many_parameters_as_the_vanilla_cell() -> None:
    assert describe(build(small.reference_case("rnn", **NOTEBOOK), ROOT)).parameters == 745


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


def test_the_notebooks_stack_is_not_compared_and_says_why() -> None:
    measurement = describe(build(small.case("deep-notebook"), ROOT))
    assert measurement.parity.startswith("not compared: layer l reads")
    assert measurement.parity_error is None


@pytest.mark.parametrize(("target", "reference"), [("torch.nn:RNNCell", "rnn"), ("torch.nn:LSTMCell", "lstm")])
def test_a_cell_of_ones_own_is_ready_without_parity(target: str, reference: str) -> None:
    built = build(Case(target, "loop", small.workload(reference=reference)), ROOT)
    assert describe(built).parity == "not compared: no weight mapping is given"
    output = built.timed_call().call()
    assert output is not None


def test_a_constructor_that_wants_more_than_sizes_is_named(tmp_path) -> None:
    source = "from torch import nn\nclass Mine(nn.Module):\n    def __init__(self, input, hidden, gate): ...\n"
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(TypeError, match=r"Mine\(input_size, hidden_size\) can't be called: missing .*'gate'"):
        build(Case("mine.py:Mine", "loop", small.workload()), tmp_path)
