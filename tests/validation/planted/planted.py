"""Cells that take a known number of steps in one call. The head's copy of this file has other numbers in some cells."""

from typing import Any

from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.vanilla import VanillaCell


class Steps:
    """Mixin for a cell: applies it several times to the same input."""

    weights_from = None  # not to be compared with torch.nn: it computes something else

    def forward(self, input: Any, state: Any) -> Any:
        """Apply many steps: (batch, input), state -> state."""
        for _ in range(self.number()):  # type: ignore[attr-defined]
            state = super().forward(input, state)  # type: ignore[misc]
        return state


class VanillaSame(Steps, VanillaCell):
    def number(self) -> int:
        return 98


class VanillaSlow(Steps, VanillaCell):
    def number(self) -> int:
        return 98


class LSTMSame(Steps, LSTMCell):
    def number(self) -> int:
        return 98


class LSTMSlow(Steps, LSTMCell):
    def number(self) -> int:
        return 98


class GRUSame(Steps, GRUCell):
    def number(self) -> int:
        return 98


class GRUSlow(Steps, GRUCell):
    def number(self) -> int:
        return 98
