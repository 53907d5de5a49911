"""Independently recurrent network: one step.

    h' = relu(W x + u * h + b)

Each unit sees only its own state, so there is no product with the state.

Li et al. 2018, "Independently recurrent neural network (IndRNN)" (arXiv:1803.04831). It equals an Elman cell with relu
whose W_hh is diagonal.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.parts import TwoPartCell, uniform


class IndRNNCell(TwoPartCell):
    """`cell(input, h) -> h'`, with `weight_ih`: (hidden, input), `weight_hh`: (hidden,) and `bias`: (hidden,)."""

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = uniform(hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(hidden_size, bound=1.0)  # below 1, so that long sequences do not grow
        self.bias = uniform(hidden_size, bound=hidden_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., hidden)."""
        return linear(input, self.weight_ih, self.bias)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """Take one step from a projected input: (batch, hidden), (batch, hidden) -> (batch, hidden)."""
        return torch.relu(projected + self.weight_hh * h)
