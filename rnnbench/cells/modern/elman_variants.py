"""Cells near the Elman cell: independent units, and an update gate."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.gated import GatedCell, TwoPartCell, uniform


class IndRNNCell(TwoPartCell):
    """`cell(input, h) -> h'`, with `weight_ih`: (hidden, input), `weight_hh`: (hidden,) and `bias`: (hidden,).

        h' = relu(W x + u * h + b)

    Independently recurrent network: each unit sees only its own state, so there is no product with the state. It equals
    an Elman cell with relu whose W_hh is diagonal.

    Li et al. 2018, "Independently recurrent neural network (IndRNN)" (arXiv:1803.04831).
    """

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = uniform(hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(hidden_size, bound=1.0)  # below 1, so that long sequences do not grow
        self.bias = uniform(hidden_size, bound=hidden_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """The part that does not depend on the state: (..., input) -> (..., hidden)."""
        return linear(input, self.weight_ih, self.bias)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """One step from a projected input: (batch, hidden), (batch, hidden) -> (batch, hidden)."""
        return torch.relu(projected + self.weight_hh * h)


class UGRNNCell(GatedCell):
    """`cell(input, h) -> h'`; the rows of its weights are those of g, then c.

        g = sigmoid(W_g x + U_g h + b_g)            update gate
        c = tanh(W_c x + U_c h + b_c)               candidate
        h' = g * h + (1 - g) * c

    Update gate network: with g = 0 it equals an Elman cell.

    Collins, Sohl-Dickstein & Sussillo 2017, "Capacity and trainability in recurrent neural networks"
    (arXiv:1611.09913).
    """

    gates = 2
    weights_from = None

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """One step from a projected input: (batch, 2 * hidden), (batch, hidden) -> (batch, hidden)."""
        g, c = (projected + linear(h, self.weight_hh)).chunk(2, dim=-1)
        return torch.lerp(torch.tanh(c), h, torch.sigmoid(g))
