"""LSTM whose gates see the cell's state: one step.

    i = sigmoid(W_ii x + b_ii + W_hi h + b_hi + p_i * c)
    f = sigmoid(W_if x + b_if + W_hf h + b_hf + p_f * c)
    g = tanh(W_ig x + b_ig + W_hg h + b_hg)
    c' = f * c + i * g
    o = sigmoid(W_io x + b_io + W_ho h + b_ho + p_o * c')
    h' = o * tanh(c')

Gers & Schmidhuber 2000 (doi:10.1109/IJCNN.2000.861302). With p = 0 it equals `rnnbench.cells.lstm`.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.lstm import LSTMCell, LSTMState
from rnnbench.cells.parts import uniform


class LSTMPeepholeCell(LSTMCell):
    """`cell(input, (h, c)) -> (h', c')`, with the parameters of `LSTMCell` and `peepholes`: (3, hidden)."""

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.peepholes = uniform(3, hidden_size, bound=hidden_size**-0.5)  # of i, f, o

    def advance(self, projected: Tensor, state: LSTMState) -> LSTMState:
        """Take one step from a projected input: (batch, 4 * hidden), 2 x (batch, hidden) -> 2 x (batch, hidden)."""
        h, c = state
        i, f, g, o = (projected + linear(h, self.weight_hh, self.bias_hh)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.peepholes.unbind(0)
        c_new = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
        return torch.sigmoid(o + p_o * c_new) * torch.tanh(c_new), c_new
