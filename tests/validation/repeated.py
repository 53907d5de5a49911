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


class Steps200(Steps):
    """The base."""

    steps = 200


class Again200(Steps):
    """The same as the base."""

    steps = 200


class Steps204(Steps):
    """2% more."""

    steps = 204


class Steps210(Steps):
    """5% more."""

    steps = 210


class Steps300(Steps):
    """Half as much again."""

    steps = 300


class Steps800(Steps):
    """Four times as much."""

    steps = 800
