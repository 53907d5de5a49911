import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import rnnbench
from rnnbench.cells.deep import DeepCell
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.vanilla import VanillaCell

INPUT = torch.randn(6, 2, 3)


class Pair(nn.Module):
    """A cell that gives its output beside its state, and has no attribute that tells its size."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return h, h


@pytest.mark.parametrize(
    ("cell", "layer"),
    [
        (nn.LSTMCell(3, 5), nn.LSTM(3, 5)),
        (nn.GRUCell(3, 5), nn.GRU(3, 5)),
        (GRUCell(3, 5), nn.GRU(3, 5)),
        (VanillaCell(3, 5), nn.RNN(3, 5)),
    ],
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_unrolled_cell_with_a_layers_weights_computes_what_the_layer_does(
    cell: nn.Module, layer: nn.RNNBase, batch_first: bool
) -> None:
    layer.batch_first = batch_first
    mine = rnnbench.same_weights(rnnbench.unroll(cell, batch_first=batch_first), like=layer)
    input = INPUT.transpose(0, 1) if batch_first else INPUT
    outputs, state = mine(input)
    expected, final = layer(input)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state, final)
    again, _ = mine(input, state)
    torch.testing.assert_close(again, layer(input, final)[0])
    assert list(mine.state_dict()) == [f"cell.{name}" for name in cell.state_dict()]


def test_a_stack_of_cells_gets_the_weights_of_all_layers() -> None:
    layer = nn.RNN(3, 5, num_layers=3)
    mine = rnnbench.same_weights(rnnbench.unroll(DeepCell(3, 5, 3)), like=layer)  # its cells have mappings of their own
    outputs, state = mine(INPUT)
    expected, final = layer(INPUT)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close([part[0] for part in state], [final[2], final[0], final[1]])


def test_a_cell_that_gives_output_and_state_is_unrolled_with_its_state_given() -> None:
    layer = nn.GRU(3, 5)
    mine = rnnbench.same_weights(rnnbench.unroll(Pair()), like=layer)
    outputs, _ = mine(INPUT, torch.zeros(1, 2, 5))
    torch.testing.assert_close(outputs, layer(INPUT)[0])


def test_what_is_no_cell_and_what_is_no_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input: expected \(seq, batch, features\), found \(2, 3\)"):
        rnnbench.unroll(nn.LSTMCell(3, 5))(torch.randn(2, 3))
    with pytest.raises(ValueError, match="cell: Linear runs whole sequences already, or rnnbench does not"):
        rnnbench.unroll(nn.Linear(3, 5))(INPUT)


def test_a_head_reads_the_outputs_of_both_directions_and_keeps_the_state() -> None:
    layer = nn.LSTM(3, 5, bidirectional=True)
    model = rnnbench.with_head(layer, 7)
    outputs, (h, c) = model(INPUT)
    assert (outputs.shape, h.shape, c.shape) == ((6, 2, 7), (2, 2, 5), (2, 2, 5))
    given, _ = model(INPUT, (h, c))
    assert given.shape == (6, 2, 7)
    assert rnnbench.with_head(nn.LSTM(3, 5, proj_size=2), 7).head.in_features == 2
    assert rnnbench.with_head(rnnbench.unroll(nn.GRUCell(3, 5)), 7).head.in_features == 5
    assert rnnbench.with_head(rnnbench.unroll(Pair()), 7, features=5).head.in_features == 5
    with pytest.raises(ValueError, match="features: Unrolled has no hidden_size; give the last size of its outputs"):
        rnnbench.with_head(rnnbench.unroll(Pair()), 7)


def test_weights_of_a_model_with_a_head_are_copied_in_both_directions() -> None:
    mine = rnnbench.with_head(rnnbench.unroll(nn.LSTMCell(3, 5)), 7)
    like = rnnbench.with_head(nn.LSTM(3, 5), 7)
    for module, other in ((mine, like), (like, mine)):
        assert rnnbench.same_weights(module, like=other) is module
        torch.testing.assert_close(module(INPUT)[0], other(INPUT)[0])
        for parameter in module.parameters():
            nn.init.uniform_(parameter)


def test_layers_of_equal_form_get_all_their_weights() -> None:
    mine, like = (nn.LSTM(3, 5, num_layers=2, bidirectional=True) for _ in range(2))
    rnnbench.same_weights(mine, like=like)
    torch.testing.assert_close(mine(INPUT)[0], like(INPUT)[0])


@pytest.mark.parametrize(
    ("mine", "like", "words"),
    [
        (
            nn.GRU(3, 5),
            nn.LSTM(3, 5),
            "mine: its parameters are not those of LSTM: weight_ih_l0, weight_hh_l0, bias_ih_l0",
        ),
        (nn.Linear(3, 5), nn.LSTM(3, 5), "weight, bias has no counterpart among weight_ih, weight_hh, bias_ih"),
        (nn.GELU(), nn.LSTM(3, 5), "mine: GELU has no parameters"),
    ],
)
def test_weights_that_do_not_fit_are_named(mine: nn.Module, like: nn.Module, words: str) -> None:
    before = [parameter.clone() for parameter in mine.parameters()]
    with pytest.raises(ValueError, match=words):
        rnnbench.same_weights(mine, like=like)
    assert all(map(torch.equal, mine.parameters(), before))


def test_same_weights_copies_buffers_too() -> None:
    like, mine = (parametrizations.spectral_norm(nn.LSTM(4, 6), "weight_hh_l0") for _ in range(2))
    for _ in range(3):
        like(torch.randn(5, 3, 4))
    rnnbench.same_weights(mine, like=like)
    input = torch.randn(5, 3, 4)
    torch.testing.assert_close(mine.eval()(input), like.eval()(input))
    statistics, others = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    statistics(torch.randn(8, 3))
    rnnbench.same_weights(others, like=statistics)
    torch.testing.assert_close(others.running_mean, statistics.running_mean)
