"""Gated recurrent unit: one step.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        reset gate
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)        update gate
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     candidate
    h' = (1 - z) * n + z * h

Cho et al. 2014 (arXiv:1406.1078), in the form that cuDNN and torch.nn.GRU compute: the reset gate scales
`W_hn h + b_hn`, not `h`, so that the three products with `h` are one.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.parts import TwoPartCell, uniform


class GRUCell(TwoPartCell):
    """`cell(input, h) -> h'`, with the parameter names, shapes and gate order (r, z, n) of torch.nn.GRUCell."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = uniform(3 * hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(3 * hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.bias_ih = uniform(3 * hidden_size, bound=hidden_size**-0.5)
        self.bias_hh = uniform(3 * hidden_size, bound=hidden_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 3 * hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """Take one step from a projected input: (batch, 3 * hidden), (batch, hidden) -> (batch, hidden)."""
        i_r, i_z, i_n = projected.chunk(3, dim=-1)
        h_r, h_z, h_n = linear(h, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        r = torch.sigmoid(i_r + h_r)
        z = torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        return n + z * (h - n)  # (1 - z) * n + z * h with one product fewer
