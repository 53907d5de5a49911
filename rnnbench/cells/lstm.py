"""Long short-term memory: one step.

    i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)        input gate
    f = sigmoid(W_if x + b_if + W_hf h + b_hf)        forget gate
    g = tanh(W_ig x + b_ig + W_hg h + b_hg)           candidate
    o = sigmoid(W_io x + b_io + W_ho h + b_ho)        output gate
    c' = f * c + i * g
    h' = o * tanh(c')

Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735) with the forget gate of Gers et al. 2000
(doi:10.1162/089976600300015015); no peepholes, as in torch.nn.LSTM.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.parts import TwoPartCell, uniform

LSTMState = tuple[Tensor, Tensor]


class LSTMCell(TwoPartCell):
    """`cell(input, (h, c)) -> (h', c')`, with the parameter names, shapes and gate order (i, f, g, o) of torch's."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = uniform(4 * hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(4 * hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.bias_ih = uniform(4 * hidden_size, bound=hidden_size**-0.5)
        self.bias_hh = uniform(4 * hidden_size, bound=hidden_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 4 * hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)

    def advance(self, projected: Tensor, state: LSTMState) -> LSTMState:
        """Take one step from a projected input: (batch, 4 * hidden), 2 x (batch, hidden) -> 2 x (batch, hidden)."""
        h, c = state
        i, f, g, o = (projected + linear(h, self.weight_hh, self.bias_hh)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
