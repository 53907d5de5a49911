"""GRU and LSTM: one step; and what cells share: a step in two parts, and the weights of gates."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class TwoPartCell(nn.Module):
    """A cell whose step is `advance(project(input), state)`: `project` reads no state."""

    project: Callable[..., Any]
    advance: Callable[..., Any]

    def forward(self, input: Tensor, state: Any) -> Any:
        """One step: (batch, input), the state -> the new state."""
        return self.advance(self.project(input), state)


class GatedCell(TwoPartCell):
    """A cell whose gates weigh input and state, with the parameter names and shapes of torch's own cells.

    `weight_ih`: (gates * hidden, input), `weight_hh`: (gates * hidden, hidden), `bias_ih` and `bias_hh`, as torch has
    them: one block of rows for each gate.
    """

    gates = 1  # gates and candidates
    reads_state = True  # the gates, which else see only the input
    has_bias_hh = False  # a second bias, which torch's own cells have

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        rows, bound = self.gates * hidden_size, (hidden_size if self.reads_state else input_size) ** -0.5
        self.weight_ih = uniform(rows, input_size, bound=bound)
        if self.reads_state:
            self.weight_hh = uniform(rows, hidden_size, bound=bound)
        self.bias_ih = uniform(rows, bound=bound)
        if self.has_bias_hh:
            self.bias_hh = uniform(rows, bound=bound)

    def project(self, input: Tensor) -> Tensor:
        """The part that does not depend on the state: (..., input) -> (..., gates * hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)


class GRUCell(GatedCell):
    """`cell(input, h) -> h'`, with the parameter names, shapes and gate order (r, z, n) of torch.nn.GRUCell.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        reset gate
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)        update gate
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     candidate
        h' = (1 - z) * n + z * h

    Cho et al. 2014 (arXiv:1406.1078), in the form that cuDNN and torch.nn.GRU compute: the reset gate scales
    `W_hn h + b_hn`, not `h`, so that the three products with `h` are one.
    """

    gates = 3
    has_bias_hh = True

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """One step from a projected input: (batch, 3 * hidden), (batch, hidden) -> (batch, hidden)."""
        i_r, i_z, i_n = projected.chunk(3, dim=-1)
        h_r, h_z, h_n = linear(h, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        r = torch.sigmoid(i_r + h_r)
        z = torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        return n + z * (h - n)  # (1 - z) * n + z * h with one product fewer


LSTMState = tuple[Tensor, Tensor]


class LSTMCell(GatedCell):
    """`cell(input, (h, c)) -> (h', c')`, with the parameter names, shapes and gate order (i, f, g, o) of torch's.

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)        input gate
        f = sigmoid(W_if x + b_if + W_hf h + b_hf)        forget gate
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)           candidate
        o = sigmoid(W_io x + b_io + W_ho h + b_ho)        output gate
        c' = f * c + i * g
        h' = o * tanh(c')

    Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735) with the forget gate of Gers et al. 2000
    (doi:10.1162/089976600300015015); no peepholes, as in torch.nn.LSTM.
    """

    gates = 4
    has_bias_hh = True

    def advance(self, projected: Tensor, state: LSTMState) -> LSTMState:
        """One step from a projected input: (batch, 4 * hidden), 2 x (batch, hidden) -> 2 x (batch, hidden)."""
        h, c = state
        i, f, g, o = (projected + linear(h, self.weight_hh, self.bias_hh)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """A parameter drawn from U(-bound, bound)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
