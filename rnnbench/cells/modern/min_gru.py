"""Minimal gated recurrent unit: one step.

    z = sigmoid(W_z x + b_z)            update gate
    n = g(W_n x + b_n)                  candidate
    h' = (1 - z) * h + z * n

with g(v) = v + 0.5 for v >= 0 and sigmoid(v) below. No gate depends on the state, so the recurrence is linear in it,
and a whole sequence can be computed at once, in log space.

Feng et al. 2024, "Were RNNs all we needed?" (arXiv:2410.01201), in the form of its appendix.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from rnnbench.cells.parts import TwoPartCell, log_scan, uniform


class MinGRUCell(TwoPartCell):
    """`cell(input, h) -> h'`; the rows of its weight are those of z, then n."""

    weights_from = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = uniform(2 * hidden_size, input_size, bound=input_size**-0.5)
        self.bias_ih = uniform(2 * hidden_size, bound=input_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 2 * hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """Take one step from a projected input: (batch, 2 * hidden), (batch, hidden) -> (batch, hidden)."""
        z, n = projected.chunk(2, dim=-1)
        return torch.lerp(h, positive(n), torch.sigmoid(z))

    def scan(self, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Run all steps at once: (seq, batch, input), (batch, hidden) -> (seq, batch, hidden), (batch, hidden)."""
        z, n = self.project(input).chunk(2, dim=-1)
        outputs = log_scan(-softplus(z), log_positive(n) - softplus(-z), h)
        return outputs, outputs[-1]


def positive(value: Tensor) -> Tensor:
    """Return g(v): v + 0.5 for v >= 0, else sigmoid(v)."""
    return torch.where(value >= 0, value + 0.5, torch.sigmoid(value))


def log_positive(value: Tensor) -> Tensor:
    """Return log g(v)."""
    return torch.where(value >= 0, (value.clamp_min(0) + 0.5).log(), -softplus(-value))
