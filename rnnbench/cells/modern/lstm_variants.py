"""LSTMs with peepholes, with layer normalisation, and with exponential gates."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid

from rnnbench.cells.gated import GatedCell, LSTMCell, LSTMState, uniform

SLSTMState = tuple[Tensor, Tensor, Tensor, Tensor]


class LSTMPeepholeCell(LSTMCell):
    """`cell(input, (h, c)) -> (h', c')`, with the parameters of `LSTMCell` and `peepholes`: (3, hidden).

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi + p_i * c)
        f = sigmoid(W_if x + b_if + W_hf h + b_hf + p_f * c)
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c' = f * c + i * g
        o = sigmoid(W_io x + b_io + W_ho h + b_ho + p_o * c')
        h' = o * tanh(c')

    Gers & Schmidhuber 2000 (doi:10.1109/IJCNN.2000.861302). With p = 0 it equals `rnnbench.cells.gated`.
    """

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.peepholes = uniform(3, hidden_size, bound=hidden_size**-0.5)  # of i, f, o

    def advance(self, projected: Tensor, state: LSTMState) -> LSTMState:
        """One step from a projected input: (batch, 4 * hidden), 2 x (batch, hidden) -> 2 x (batch, hidden)."""
        h, c = state
        i, f, g, o = (projected + linear(h, self.weight_hh, self.bias_hh)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.peepholes.unbind(0)
        c_new = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
        return torch.sigmoid(o + p_o * c_new) * torch.tanh(c_new), c_new


class LSTMLayerNormCell(GatedCell):
    """`cell(input, (h, c)) -> (h', c')`; the rows of its weights are those of i, f, g, o.

        i~, f~, g~, o~ = LN(W x) + LN(U h) + b
        c' = sigmoid(f~) * c + sigmoid(i~) * tanh(g~)
        h' = sigmoid(o~) * tanh(LN(c'))

    Each LN has a gain for every value; those of the sums have no shift, since b is one, and that of c' has one.

    Ba, Kiros & Hinton 2016, "Layer normalization" (arXiv:1607.06450), equations 20 to 22.
    """

    gates = 4
    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm_ih = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_hh = nn.LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size)

    def project(self, input: Tensor) -> Tensor:
        """The part that does not depend on the state: (..., input) -> (..., 4 * hidden)."""
        normed: Tensor = self.norm_ih(linear(input, self.weight_ih))
        return normed + self.bias_ih

    def advance(self, projected: Tensor, state: LSTMState) -> LSTMState:
        """One step from a projected input: (batch, 4 * hidden), 2 x (batch, hidden) -> 2 x (batch, hidden)."""
        h, c = state
        i, f, g, o = (projected + self.norm_hh(linear(h, self.weight_hh))).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c


class SLSTMCell(GatedCell):
    """`cell(input, (h, c, n, m)) -> (h', c', n', m')`; the rows of its weights are those of i, f, z, o.

        i~, f~, z~, o~ = W x + R h + b
        m' = max(log sigmoid(f~) + m, i~)           stabiliser
        i = exp(i~ - m')                            input gate
        f = exp(log sigmoid(f~) + m - m')           forget gate
        c' = f * c + i * tanh(z~)
        n' = f * n + i                              normaliser
        h' = sigmoid(o~) * c' / n'

    Beck et al. 2024, "xLSTM: extended long short-term memory" (arXiv:2405.04517), equations 8 to 17, with the sigmoid
    as forget gate and one head.
    """

    gates = 4
    weights_from = None
    states = 4

    def initial_state(self, batch_size: int) -> SLSTMState:
        """Zeros, and the lowest stabiliser: it is the input gate after the first step, whatever the forget gate."""
        zeros = self.bias_ih.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros, zeros, zeros + torch.finfo(zeros.dtype).min / 2

    def advance(self, projected: Tensor, state: SLSTMState) -> SLSTMState:
        """One step from a projected input: (batch, 4 * hidden), 4 x (batch, hidden) -> 4 x (batch, hidden)."""
        h, c, n, m = state
        log_i, f, z, o = (projected + linear(h, self.weight_hh)).chunk(4, dim=-1)
        log_f = logsigmoid(f) + m
        m = torch.maximum(log_f, log_i)
        i, f = torch.exp(log_i - m), torch.exp(log_f - m)
        c = f * c + i * torch.tanh(z)
        n = f * n + i
        return torch.sigmoid(o) * c / n, c, n, m
