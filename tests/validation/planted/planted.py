"""Cells that take a known number of steps in one call. The head's copy of this file has entries in its table."""

from typing import Any

from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.vanilla import VanillaCell

BASE_STEPS = 98  # 101, 103 and 108 are 3.06%, 5.10% and 10.2% more; a call's overhead makes that 1-2% less
STEPS: dict[str, int] = {}


class Steps:
    """Mixin for a cell: applies it several times to the same input."""

    weights_from = None  # not to be compared with torch.nn: it computes something else

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.steps = STEPS.get(type(self).__name__, BASE_STEPS)

    def forward(self, input: Any, state: Any) -> Any:
        """Apply many steps: (batch, input), state -> state."""
        for _ in range(self.steps):
            state = super().forward(input, state)  # type: ignore[misc]
        return state


class VanillaSame(Steps, VanillaCell): ...


class VanillaSlow(Steps, VanillaCell): ...


class LSTMSame(Steps, LSTMCell): ...


class LSTMSlow(Steps, LSTMCell): ...


class GRUSame(Steps, GRUCell): ...


class GRUSlow(Steps, GRUCell): ...
