"""LSTM with layer normalisation: one step.

    i~, f~, g~, o~ = LN(W x) + LN(U h) + b
    c' = sigmoid(f~) * c + sigmoid(i~) * tanh(g~)
    h' = sigmoid(o~) * tanh(LN(c'))

Each LN has a gain for every value; those of the sums have no shift, since b is one, and that of c' has one.

Ba, Kiros & Hinton 2016, "Layer normalization" (arXiv:1607.06450), equations 20 to 22.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnbench.cells.lstm import LSTMState
from rnnbench.cells.parts import TwoPartCell, uniform


class LSTMLayerNormCell(TwoPartCell):
    """`cell(input, (h, c)) -> (h', c')`; the rows of its weights are those of i, f, g, o."""

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = uniform(4 * hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(4 * hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.bias = uniform(4 * hidden_size, bound=hidden_size**-0.5)
        self.norm_ih = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_hh = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 4 * hidden)."""
        normed: Tensor = self.norm_ih(linear(input, self.weight_ih))
        return normed + self.bias

    def advance(self, projected: Tensor, state: LSTMState) -> LSTMState:
        """Take one step from a projected input: (batch, 4 * hidden), 2 x (batch, hidden) -> 2 x (batch, hidden)."""
        h, c = state
        i, f, g, o = (projected + self.norm_hh(linear(h, self.weight_hh))).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c
