"""Cells that take a known number of equal steps in one call, so that the ratios of times are known."""

from torch import Tensor, nn


class Steps(nn.RNNCell):
    """torch.nn.RNNCell, applied `steps` times."""

    weights_from = None  # not to be compared with torch.nn: it computes something else
    steps = 0

    def forward(self, input: Tensor, h: Tensor) -> Tensor:  # type: ignore[override]
        """`steps` steps with the same input: (batch, input), (batch, hidden) -> (batch, hidden)."""
        for _ in range(self.steps):
            h = super().forward(input, h)
        return h


class Steps0(Steps):
    """No step: the overhead of a call."""


class Steps100(Steps):
    """The base."""

    steps = 100


class Again100(Steps):
    """The same as the base."""

    steps = 100


class Steps102(Steps):
    """2% more."""

    steps = 102


class Steps105(Steps):
    """5% more."""

    steps = 105


class Steps150(Steps):
    """Half as much again."""

    steps = 150


class Steps400(Steps):
    """Four times as much."""

    steps = 400
