"""Each cell against torch's own cell or layer, without the rest of rnnbench."""

from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.cells import CELLS, load
from rnnbench.cells.deep import DeepCell
from rnnbench.cells.deep_notebook import DeepNotebookCell
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.vanilla import VanillaCell
from tests.doubles import workload as small


@pytest.fixture(autouse=True)
def double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("own", "torchs", "has_c"),
    [(VanillaCell, nn.RNNCell, False), (GRUCell, nn.GRUCell, False), (LSTMCell, nn.LSTMCell, True)],
)
def test_a_cell_loads_the_weights_of_torchs_cell_and_takes_the_same_step(own: Any, torchs: Any, has_c: bool) -> None:
    expected, cell = torchs(5, 7), own(5, 7)
    cell.load_state_dict(expected.state_dict())
    x, h, c = torch.randn(3, 5), torch.randn(3, 7), torch.randn(3, 7)
    state = (h, c) if has_c else h
    torch.testing.assert_close(cell(x, state), expected(x, state))


def run_stack(cell: DeepCell, x: torch.Tensor, states: tuple[torch.Tensor, ...]) -> torch.Tensor:
    outputs = []
    for step in x:
        states = cell(step, states)
        outputs.append(states[-1])
    return torch.stack(outputs)


@pytest.mark.parametrize(("cell_class", "equal"), [(DeepCell, True), (DeepNotebookCell, False)])
def test_the_deep_cell_equals_torchs_stack_and_the_notebooks_does_not(cell_class, equal: bool) -> None:
    layer, cell = nn.RNN(5, 7, 3), cell_class(5, 7, 3)
    cell.load_state_dict(cell.weights_from(dict(layer.named_parameters())))
    x, h = torch.randn(6, 2, 5), torch.randn(3, 2, 7)
    outputs = run_stack(cell, x, h.unbind(0))
    assert torch.allclose(outputs, layer(x, h)[0]) is equal


@pytest.mark.parametrize(
    "name", ["vanilla", "combined", "deep", "deep-notebook", "lstm", "gru", "lstm_peephole", "ugrnn"]
)
def test_weights_start_within_the_bound_of_torchs_recurrent_layers(name: str) -> None:
    case = small.case(name)
    cell_class = load(CELLS[name].target, root=None)  # type: ignore[arg-type] # no file is looked for
    sizes = [5, 100] + [case.workload.num_layers] * CELLS[name].stacked
    values = torch.cat([parameter.detach().flatten() for parameter in cell_class(*sizes).parameters()])
    assert 0.099 < values.abs().max() <= 0.1
