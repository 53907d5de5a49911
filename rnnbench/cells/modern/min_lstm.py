"""Minimal long short-term memory: one step.

    f = sigmoid(W_f x + b_f)            forget gate
    i = sigmoid(W_i x + b_i)            input gate
    n = g(W_n x + b_n)                  candidate
    h' = f / (f + i) * h + i / (f + i) * n

with the g of `rnnbench.cells.modern.min_gru`. The recurrence is linear in the state.

Feng et al. 2024, "Were RNNs all we needed?" (arXiv:2410.01201), in the form of its appendix.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from rnnbench.cells.modern.min_gru import log_positive, positive
from rnnbench.cells.parts import TwoPartCell, log_scan, uniform


class MinLSTMCell(TwoPartCell):
    """`cell(input, h) -> h'`; the rows of its weight are those of f, i, then n."""

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = uniform(3 * hidden_size, input_size, bound=input_size**-0.5)
        self.bias_ih = uniform(3 * hidden_size, bound=input_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 3 * hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """Take one step from a projected input: (batch, 3 * hidden), (batch, hidden) -> (batch, hidden)."""
        f, i, n = projected.chunk(3, dim=-1)
        return torch.lerp(h, positive(n), torch.sigmoid(_input_log_odds(f, i)))

    def scan(self, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Run all steps at once: (seq, batch, input), (batch, hidden) -> (seq, batch, hidden), (batch, hidden)."""
        f, i, n = self.project(input).chunk(3, dim=-1)
        odds = _input_log_odds(f, i)
        outputs = log_scan(-softplus(odds), log_positive(n) - softplus(-odds), h)
        return outputs, outputs[-1]


def _input_log_odds(f: Tensor, i: Tensor) -> Tensor:
    """Return the logarithm of (input gate / forget gate), from their values before the sigmoid."""
    return softplus(-f) - softplus(-i)
