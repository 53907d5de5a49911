"""Update gate network: one step.

    g = sigmoid(W_g x + U_g h + b_g)            update gate
    c = tanh(W_c x + U_c h + b_c)               candidate
    h' = g * h + (1 - g) * c

Collins, Sohl-Dickstein & Sussillo 2017, "Capacity and trainability in recurrent neural networks" (arXiv:1611.09913).
With g = 0 it equals an Elman cell.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.parts import TwoPartCell, uniform


class UGRNNCell(TwoPartCell):
    """`cell(input, h) -> h'`; the rows of its weights are those of g, then c."""

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = uniform(2 * hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(2 * hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.bias = uniform(2 * hidden_size, bound=hidden_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 2 * hidden)."""
        return linear(input, self.weight_ih, self.bias)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """Take one step from a projected input: (batch, 2 * hidden), (batch, hidden) -> (batch, hidden)."""
        g, c = (projected + linear(h, self.weight_hh)).chunk(2, dim=-1)
        return torch.lerp(torch.tanh(c), h, torch.sigmoid(g))
