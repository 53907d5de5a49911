"""Diagonal linear recurrence with complex states: one step.

    s' = a * s + g * (B x)                      g = sqrt(1 - |a|^2)
    y' = Re(C s') + D x

The recurrence is linear and has the same factor in all steps, so a whole sequence can be computed at once.

Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences" (arXiv:2303.06349), the LRU without the
nonlinearity between layers. The parameter is a itself and not its logarithm, which would keep |a| below 1 in training.
S4D (Gu et al. 2022, arXiv:2206.11893) is the same recurrence with another a.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnbench.cells.parts import TwoPartCell, complex_scan, times, uniform

DiagonalState = tuple[Tensor, Tensor, Tensor]
# of a, when it is made
LEAST_RADIUS = 0.9
LARGEST_RADIUS = 0.999


class DiagonalCell(TwoPartCell):
    """`cell(input, (y, re, im)) -> (y', re', im')`, with hidden_size complex states; no step reads `y`."""

    weights_from = None
    states = 3

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        radius = torch.empty(hidden_size).uniform_(LEAST_RADIUS**2, LARGEST_RADIUS**2).sqrt()
        angle = torch.empty(hidden_size).uniform_(0, 2 * math.pi)
        self.decay = nn.Parameter(torch.stack((radius * angle.cos(), radius * angle.sin())))  # a
        # B's real part, its imaginary part, then D: one product with the input.
        self.weight_ih = uniform(3 * hidden_size, input_size, bound=input_size**-0.5)
        self.weight_re = uniform(hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.weight_im = uniform(hidden_size, hidden_size, bound=hidden_size**-0.5)

    def initial_state(self, batch_size: int) -> DiagonalState:
        """Return zeros."""
        zeros = self.decay.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros, zeros

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., 3 * hidden), scaled by g."""
        b_re, b_im, d = linear(input, self.weight_ih).chunk(3, dim=-1)
        scale = (1 - self.decay.square().sum(0)).sqrt()
        return torch.cat((b_re * scale, b_im * scale, d), dim=-1)

    def advance(self, projected: Tensor, state: DiagonalState) -> DiagonalState:
        """Take one step from a projected input: (batch, 3 * hidden), 3 x (batch, hidden) -> 3 x (batch, hidden)."""
        _, *before = state
        a_re, a_im = self.decay.unbind(0)
        b_re, b_im, d = projected.chunk(3, dim=-1)
        re, im = times((a_re, a_im), (before[0], before[1]))
        re = re + b_re
        im = im + b_im
        return self._output(re, im) + d, re, im

    def scan(self, input: Tensor, state: DiagonalState) -> tuple[Tensor, DiagonalState]:
        """Run all steps: (seq, batch, input), 3 x (batch, hidden) -> (seq, batch, hidden), 3 x (batch, hidden)."""
        a_re, a_im = self.decay.unbind(0)
        b_re, b_im, d = self.project(input).chunk(3, dim=-1)
        re, im = complex_scan((a_re, a_im), (b_re, b_im), state[1:])
        outputs = self._output(re, im) + d
        return outputs, (outputs[-1], re[-1], im[-1])

    def _output(self, re: Tensor, im: Tensor) -> Tensor:
        return linear(re, self.weight_re) - linear(im, self.weight_im)
