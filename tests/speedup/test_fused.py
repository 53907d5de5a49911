"""The way `fused`: results are those of layers of any depth, directions and layout; what it can't run is as given."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import rnnbench
from rnnbench.adapt.kinds import run_module
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.states import leaves
from rnnbench.kernels import recurrence
from rnnbench.kernels.recurrence import CELLS
from rnnbench.speedup import search
from rnnbench.speedup.ways import possible_ways
from tests.speedup.test_ways import INPUT, fast

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(
        isinstance(recurrence.functions(CELLS["lstm"]), str), reason="this machine can't build rnnbench's own layers"
    ),
]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The inputs of layers that the C code has run."""
    inputs = list[Tensor]()
    run = recurrence.layer

    def counted(cell: Any, input: Tensor, *arguments: Any, **more: Any) -> Any:
        inputs.append(input)
        return run(cell, input, *arguments, **more)

    monkeypatch.setattr(recurrence, "layer", counted)
    return inputs


@pytest.mark.parametrize(
    ("layer", "calls"),
    [
        (nn.LSTM(5, 6), 1),
        (nn.LSTM(5, 6, bias=False, batch_first=True), 1),
        (nn.LSTM(5, 6, num_layers=3, dropout=0.0), 3),
        (nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True), 4),
        (LSTMCell(5, 6), 1),
        (nn.LSTMCell(5, 6), 1),
        (nn.GRU(5, 6, num_layers=2, bidirectional=True, batch_first=True), 4),
        (nn.GRU(5, 6, bias=False), 1),
        (GRUCell(5, 6), 1),
        (nn.GRUCell(5, 6), 1),
        (nn.RNN(5, 6, num_layers=2), 2),
        (nn.RNNCell(5, 6), 1),
    ],
)
@pytest.mark.parametrize("has_state", [True, False])
def test_outputs_states_and_gradients_are_those_of_the_module(
    layer: Any, calls: int, has_state: bool, runs: list[Tensor]
) -> None:
    is_cell = not isinstance(layer, nn.RNNBase)
    is_lstm = isinstance(layer, nn.LSTM | nn.LSTMCell | LSTMCell)
    input = INPUT.transpose(0, 1) if getattr(layer, "batch_first", False) else INPUT
    itself: Any = rnnbench.unroll(layer) if is_cell else layer
    parts = tuple(torch.randn(calls, 3, 6) for _ in range(1 + is_lstm)) if has_state else ()
    results = []
    for run in (itself, fast(layer, "fused", input)):
        given = input.detach().clone().requires_grad_()
        begun = tuple(part.clone().requires_grad_() for part in parts)
        state: Any = None
        if begun:
            state = begun if is_lstm else begun[0]
        outputs, final = run(given, state)
        total = outputs.square().sum() + sum(part.sum() + part.square().sum() for part in leaves(final))
        gradients = torch.autograd.grad(total, [given, *begun, *layer.parameters()])
        with torch.inference_mode():
            inferred = run(given.detach(), state)
        results.append((outputs, final, gradients, inferred))
    torch.testing.assert_close(*results)
    assert len(runs) == 2 * calls


def test_weights_are_read_in_each_call_and_the_module_can_be_copied_and_stored(runs: list[Tensor]) -> None:
    layer: Any = nn.LSTM(5, 6)
    found = fast(layer, "fused")
    optimizer = torch.optim.SGD(found.parameters(), lr=0.5)
    for _ in range(2):
        found(INPUT)[0].square().sum().backward()
        optimizer.step()
        torch.testing.assert_close(found(INPUT), layer(INPUT))
    layer.weight_hh_l0.data.mul_(0.3)  # which no version counter tells
    for same in (found, copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        runs.clear()
        torch.testing.assert_close(same(INPUT), layer(INPUT))
        assert len(runs) == 1


def test_a_change_in_place_between_forward_and_backward_is_an_error() -> None:
    layer: Any = nn.LSTM(5, 6)
    outputs, _ = fast(layer, "fused")(INPUT)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_only_what_needs_a_gradient_gets_one() -> None:
    layer: Any = nn.LSTM(5, 6)
    layer.weight_ih_l0.requires_grad_(False)
    layer.bias_hh_l0.requires_grad_(False)
    for run in (layer, fast(layer, "fused")):
        layer.zero_grad()
        run(INPUT)[1][0].sum().backward()  # the outputs themselves get none
        assert layer.weight_ih_l0.grad is layer.bias_hh_l0.grad is None
        assert layer.weight_hh_l0.grad is not None
    layer.requires_grad_(False)
    assert not fast(layer, "fused")(INPUT)[0].requires_grad


@pytest.mark.parametrize("layer", [nn.LSTM(5, 6), nn.GRU(5, 6), nn.RNN(5, 6)])
def test_no_two_gradients_share_memory(layer: Any) -> None:
    fast(layer, "fused")(INPUT)[0].sum().backward()
    memory = {parameter.grad.untyped_storage().data_ptr() for parameter in layer.parameters()}
    assert len(memory) == len(list(layer.parameters()))  # else clipping in place would reach some of them twice


def test_what_the_c_code_does_not_read_runs_as_given(runs: list[Tensor]) -> None:
    layer: Any = nn.LSTM(5, 6)
    found, packed = fast(layer, "fused"), pack_sequence([INPUT[:, 0], INPUT[:2, 1]])
    torch.testing.assert_close(found(packed)[0].data, layer(packed)[0].data)
    torch.testing.assert_close(found(INPUT[:, 0]), layer(INPUT[:, 0]))
    with pytest.raises(RuntimeError, match=r"input\.size"):
        found(torch.randn(7, 3, 4))
    layer.double()
    torch.testing.assert_close(found(INPUT.double()), layer(INPUT.double()))
    with pytest.raises((RuntimeError, ValueError), match=r"type|dtype"):
        found(INPUT)
    assert runs == []


@pytest.mark.filterwarnings("ignore")  # of what Dynamo can't trace
@pytest.mark.parametrize("module", [nn.LSTM(5, 6), LSTMCell(5, 6)])
def test_within_torch_compile_it_is_left_out_of_the_graph(module: nn.Module, runs: list[Tensor]) -> None:
    found = fast(module, "fused")
    expected = found(INPUT)[0] + 1
    runs.clear()
    torch.testing.assert_close(torch.compile(lambda input: found(input)[0] + 1, backend="eager")(INPUT), expected)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("module", "dtype", "expected"),
    [
        (nn.LSTM(5, 6), torch.float32, True),
        (LSTMCell(5, 6), torch.float32, True),
        (nn.LSTM(5, 6, proj_size=3), torch.float32, False),
        (nn.LSTM(5, 6), torch.float64, False),
        (nn.GRU(5, 6), torch.float32, True),
        (nn.GRUCell(5, 6), torch.float32, True),
        (nn.GRU(5, 6), torch.float64, False),
        (nn.RNN(5, 6), torch.float32, True),
        (nn.RNN(5, 6, nonlinearity="relu"), torch.float32, False),
        (nn.RNNCell(5, 6, nonlinearity="relu"), torch.float32, False),
    ],
)
def test_it_is_a_way_for_the_layers_of_torch_in_float32(module: nn.Module, dtype: torch.dtype, expected: bool) -> None:
    input = INPUT.to(dtype)
    run = run_module(module.to(dtype), input, None)
    assert ("fused" in possible_ways(run, input, run.zeros(input))) is expected


def test_without_a_compiler_it_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "functions", lambda *_: "no C compiler was found (CC, cc, gcc, clang)")
    monkeypatch.setattr(search, "possible_ways", lambda *_: dict.fromkeys(["as given", "fused"], ""))
    found = rnnbench.fastest(nn.LSTM(5, 6), INPUT, budget=0.1, progress=False)
    assert "fused is not used: no C compiler was found" in repr(found)
