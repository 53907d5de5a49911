"""What kind of module a user gives, and how it is run in each way."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.adapt.kinds import RunModule, run_module
from rnnbench.adapt.states import Adapted
from rnnbench.cells.combined import CombinedCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.speedup.ways import names, way
from tests.adapt import awkward

INPUT = torch.ones(5, 3, 4)


class TwoStates(nn.Module):
    """A cell of somebody else's, with the state `(h, c)`."""

    hidden_size = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, c = state
        return torch.tanh(self.linear(x) + h), c + 1


class Sequence(nn.Module):
    """A module that runs a sequence, and has the attributes of a cell."""

    hidden_size = 6

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor, state: Any = None) -> Any:
        return self.layer(input, state)


@pytest.mark.parametrize(
    ("module", "kind", "zero_state"),
    [
        (nn.GRU(4, 6), "layer", ((1, 6),)),
        (nn.LSTM(4, 6, num_layers=2, bidirectional=True), "layer", ((4, 6), (4, 6))),
        (nn.LSTM(4, 6, proj_size=2), "layer", ((1, 2), (1, 6))),
        (nn.GRUCell(4, 6), "cell", ((1, 6),)),
        (nn.LSTMCell(4, 6), "cell", ((1, 6), (1, 6))),
        (LSTMCell(4, 6), "cell", ((1, 6), (1, 6))),
        (CombinedCell(4, 6), "cell", ((1, 6),)),
        (TwoStates(), "cell", ((1, 6), (1, 6))),
        (Sequence(nn.GRU(4, 6)), "sequence", ()),
        (Sequence(nn.LSTM(4, 6, num_layers=2)), "sequence", ()),
        (nn.Sequential(nn.GRU(4, 6)), "sequence", ()),
    ],
)
def test_what_kind_of_module_it_is_and_the_form_of_its_state(module: nn.Module, kind: str, zero_state: Any) -> None:
    for input in (INPUT, torch.ones(5, 1, 4)):
        found = run_module(module, input, None)
        assert (found.module, found.kind, found.zero_state) == (module, kind, zero_state)


@pytest.mark.parametrize(
    ("cell", "zero_state"),
    [
        (awkward.Tutorial(4, 6, 3), ((1, 3), (1, 6))),  # its output is no part of its state
        (awkward.Named(4, 6), ((1, 6), (1, 6), (1, 1))),
        (awkward.Keyword(4, 6), ((1, 6),)),
        (awkward.Matrix(4, 6), ((1, 6), (1, 6, 6))),
    ],
)
def test_a_stranger_s_cell_is_run_in_the_usual_form_and_stays_as_it_is(cell: Any, zero_state: Any) -> None:
    before = dict(vars(cell))
    found = run_module(cell, INPUT, None)
    assert found.kind == "cell"
    assert found.zero_state == zero_state
    assert isinstance(found.module, Adapted)
    assert found.module.given is cell
    assert vars(cell).keys() == before.keys()
    outputs, _ = way("cell", "as given")(found.module, INPUT, found.zeros(INPUT))
    assert outputs.shape[:2] == INPUT.shape[:2]


def test_a_state_that_is_given_tells_its_sizes() -> None:
    state = torch.zeros(1, 3, 7)
    assert run_module(nn.Sequential(nn.GRU(4, 6)), INPUT, state).zero_state == ((1, 7),)
    assert run_module(nn.LSTM(4, 6), INPUT, (state, state)).zero_state == ((1, 7), (1, 7))


@pytest.mark.parametrize(
    ("cell", "states", "more"),
    [(nn.GRUCell(4, 6), 1, ["torch.nn"]), (LSTMCell(4, 6), 2, ["hoisted", "torch.nn"]), (TwoStates(), 2, [])],
)
def test_a_cell_that_is_a_layer_of_torch_may_run_as_one(cell: nn.Module, states: int, more: list[str]) -> None:
    h = torch.zeros(1, 3, 6)
    run = RunModule(cell, "cell", ((1, 6),) * states)
    assert names(run, INPUT, (h, h)[:states] if states > 1 else h) == ["as given", *more, "compiled", "prepacked"]
