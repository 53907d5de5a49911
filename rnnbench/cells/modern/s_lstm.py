"""sLSTM, an LSTM with exponential gates, a normaliser and a stabiliser: one step.

    i~, f~, z~, o~ = W x + R h + b
    m' = max(log sigmoid(f~) + m, i~)           stabiliser
    i = exp(i~ - m')                            input gate
    f = exp(log sigmoid(f~) + m - m')           forget gate
    c' = f * c + i * tanh(z~)
    n' = f * n + i                              normaliser
    h' = sigmoid(o~) * c' / n'

Beck et al. 2024, "xLSTM: extended long short-term memory" (arXiv:2405.04517), equations 8 to 17, with the sigmoid as
forget gate and one head.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from rnnbench.cells.parts import TwoPartCell, uniform

SLSTMState = tuple[Tensor, Tensor, Tensor, Tensor]


class SLSTMCell(TwoPartCell):
    """`cell(input, (h, c, n, m)) -> (h', c', n', m')`; the rows of its weights are those of i, f, z, o."""

    weights_from = None
    states = 4

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = uniform(4 * hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(4 * hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.bias = uniform(4 * hidden_size, bound=hidden_size**-0.5)

    def initial_state(self, batch_size: int) -> SLSTMState:
        """Return zeros, and the lowest stabiliser: the first step replaces it by the input gate."""
        zeros = self.bias.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros, zeros, zeros + torch.finfo(zeros.dtype).min / 2

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 4 * hidden)."""
        return linear(input, self.weight_ih, self.bias)

    def advance(self, projected: Tensor, state: SLSTMState) -> SLSTMState:
        """Take one step from a projected input: (batch, 4 * hidden), 4 x (batch, hidden) -> 4 x (batch, hidden)."""
        h, c, n, m = state
        log_i, f, z, o = (projected + linear(h, self.weight_hh)).chunk(4, dim=-1)
        log_f = logsigmoid(f) + m
        m = torch.maximum(log_f, log_i)
        i = torch.exp(log_i - m)
        f = torch.exp(log_f - m)
        c = f * c + i * torch.tanh(z)
        n = f * n + i
        return torch.sigmoid(o) * c / n, c, n, m
