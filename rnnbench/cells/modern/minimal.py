"""Minimal GRU and LSTM, whose gates see only the input.

So both recurrences are linear in the state, and a whole sequence can be computed at once, in log space.

Feng et al. 2024, "Were RNNs all we needed?" (arXiv:2410.01201), in the form of its appendix.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rnnbench.cells.gated import GatedCell

PIECE = 32  # steps


class MinGRUCell(GatedCell):
    """`cell(input, h) -> h'`; the rows of its weight are those of z, then n.

        z = sigmoid(W_z x + b_z)            update gate
        n = g(W_n x + b_n)                  candidate
        h' = (1 - z) * h + z * n

    with g(v) = v + 0.5 for v >= 0 and sigmoid(v) below.
    """

    gates = 2
    reads_state = False
    weights_from = None

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """One step from a projected input: (batch, 2 * hidden), (batch, hidden) -> (batch, hidden)."""
        z, n = projected.chunk(2, dim=-1)
        return torch.lerp(h, positive(n), torch.sigmoid(z))

    def scan(self, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """All steps at once: (seq, batch, input), (batch, hidden) -> (seq, batch, hidden), (batch, hidden)."""
        z, n = self.project(input).chunk(2, dim=-1)
        return all_states(z, n, h)


class MinLSTMCell(GatedCell):
    """`cell(input, h) -> h'`; the rows of its weight are those of f, i, then n.

        f = sigmoid(W_f x + b_f)            forget gate
        i = sigmoid(W_i x + b_i)            input gate
        n = g(W_n x + b_n)                  candidate
        h' = f / (f + i) * h + i / (f + i) * n

    with the same g.
    """

    gates = 3
    reads_state = False
    weights_from = None

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """One step from a projected input: (batch, 3 * hidden), (batch, hidden) -> (batch, hidden)."""
        f, i, n = projected.chunk(3, dim=-1)
        return torch.lerp(h, positive(n), torch.sigmoid(_input_log_odds(f, i)))

    def scan(self, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """All steps at once: (seq, batch, input), (batch, hidden) -> (seq, batch, hidden), (batch, hidden)."""
        f, i, n = self.project(input).chunk(3, dim=-1)
        return all_states(_input_log_odds(f, i), n, h)


def _input_log_odds(f: Tensor, i: Tensor) -> Tensor:
    """The logarithm of (input gate / forget gate), from their values before the sigmoid."""
    return softplus(-f) - softplus(-i)


def positive(value: Tensor) -> Tensor:
    """g(v): v + 0.5 for v >= 0, else sigmoid(v)."""
    return torch.where(value >= 0, value + 0.5, torch.sigmoid(value))


def log_positive(value: Tensor) -> Tensor:
    """log g(v)."""
    return torch.where(value >= 0, (value.clamp_min(0) + 0.5).log(), -softplus(-value))


def all_states(odds: Tensor, n: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Return all states and the last one, where n has the weight sigmoid(odds); each is (seq, batch, hidden)."""
    outputs = log_scan(-softplus(odds), log_positive(n) - softplus(-odds), h)
    return outputs, outputs[-1]


def log_scan(log_a: Tensor, log_b: Tensor, first: Tensor) -> Tensor:
    """All states of a recurrence with positive a and b, which are given as logarithms: no power of a underflows.

    `log_a`, `log_b`: (seq, batch, hidden); `first`: (batch, hidden), of any sign. Returns (seq, batch, hidden).
    Heinsen 2023 (arXiv:2311.06281): with A_t = sum of log_a up to t, h_t = exp(A_t + logsumexp(log_b_s - A_s)).

    Long sequences are scanned in pieces. In one piece of 1,024 steps A falls to some -700, and float32 keeps so few
    digits of the sums that gradients fail the comparison with the loop.
    """
    outputs = []
    for log_decay, log_input in zip(torch.split(log_a, PIECE), torch.split(log_b, PIECE), strict=True):
        powers = log_decay.cumsum(0)
        outputs.append(powers.exp() * first + (powers + torch.logcumsumexp(log_input - powers, 0)).exp())
        first = outputs[-1][-1]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
