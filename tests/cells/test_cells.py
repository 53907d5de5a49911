"""Each cell against torch's own cell or layer, without the rest of rnnbench."""

import pytest
import torch
from torch import nn

from rnnbench.cells import CELLS, load
from rnnbench.cells.deep import DeepCell, DeepNotebookCell
from tests.doubles import workload as small


@pytest.fixture(autouse=True)
def double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("cell_class", "equal"), [(DeepCell, True), (DeepNotebookCell, False)])
def test_the_deep_cell_equals_torchs_stack_and_the_notebooks_does_not(cell_class, equal: bool) -> None:
    layer, cell = nn.RNN(5, 7, 3), cell_class(5, 7, 3)
    cell.load_state_dict(cell.weights_from(dict(layer.named_parameters())))
    x, h = torch.randn(6, 2, 5), torch.randn(3, 2, 7)
    states, outputs = h.unbind(0), []
    for step in x:
        states = cell(step, states)
        outputs.append(states[-1])
    assert torch.allclose(torch.stack(outputs), layer(x, h)[0]) is equal


@pytest.mark.parametrize(
    "name", ["vanilla", "combined", "deep", "deep-notebook", "lstm", "gru", "lstm_peephole", "ugrnn"]
)
def test_weights_start_within_the_bound_of_torchs_recurrent_layers(name: str) -> None:
    case = small.case(name)
    cell_class = load(CELLS[name].target, root=None)  # type: ignore[arg-type] # no file is looked for
    sizes = [5, 100] + [case.workload.num_layers] * CELLS[name].stacked
    values = torch.cat([parameter.detach().flatten() for parameter in cell_class(*sizes).parameters()])
    assert 0.099 < values.abs().max() <= 0.1
