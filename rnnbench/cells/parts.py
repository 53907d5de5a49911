"""What several cells have in common: a step in two parts, initial values, nonlinearities and scans."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rnnbench.store.records import Nonlinearity

NONLINEARITIES: Mapping[Nonlinearity, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}
PIECE = 32  # steps


class TwoPartCell(nn.Module):
    """A cell whose step is `advance(project(input), state)`: `project` reads no state."""

    project: Callable[..., Any]
    advance: Callable[..., Any]

    def forward(self, input: Tensor, state: Any) -> Any:
        """Take one step: (batch, input), the state -> the new state."""
        return self.advance(self.project(input), state)


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """Return a parameter drawn from U(-bound, bound)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def log_scan(log_a: Tensor, log_b: Tensor, first: Tensor) -> Tensor:
    """Return all states of a recurrence with positive a and b, which are given as logarithms: no power of a underflows.

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


def complex_scan(
    decay: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], first: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return all states of a recurrence with one complex factor a for all steps, as real and imaginary parts.

    `decay`: a, each (hidden,); `b`: each (seq, batch, hidden); `first`: each (batch, hidden). Returns two tensors
    (seq, batch, hidden). In each of log2(seq) rounds every step takes over the sum of as many steps before it as it has
    itself (Hillis & Steele 1986, doi:10.1145/7902.7903).
    """
    re, im = b
    factor = decay
    start = times(factor, first)
    re = torch.cat((re[:1] + start[0], re[1:]))
    im = torch.cat((im[:1] + start[1], im[1:]))
    reach = 1
    while reach < len(re):
        earlier = times(factor, (re[:-reach], im[:-reach]))
        re, im = (part + pad(more, (0, 0, 0, 0, reach, 0)) for part, more in zip((re, im), earlier, strict=True))
        factor = times(factor, factor)
        reach = 2 * reach
    return re, im


def times(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the product of two complex tensors, as real and imaginary parts."""
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]
