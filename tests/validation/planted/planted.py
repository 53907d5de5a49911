"""Cells that take a known number of steps in one call: the file of the base; that of the head has other `STEPS`.

Cells whose name ends in `Same` are equal on both sides; those that end in `Slow` have more steps in the head.
"""

import itertools
import random
from typing import Any

from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.vanilla import VanillaCell

STEPS = {"Same": 98, "Slow": 98}
EVERY_TENTH = {"Same": 98, "Slow": 98}


class Steps:
    """Mixed into a cell: applies it several times with the same input."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        kind = type(self).__name__[-4:]
        self.steps, self.every_tenth = STEPS[kind], EVERY_TENTH[kind]
        self.calls = itertools.count(random.randrange(10))

    def forward(self, input: Any, state: Any) -> Any:
        """Many steps: (batch, input), state -> state."""
        for _ in range(self.steps if next(self.calls) % 10 else self.every_tenth):
            state = super().forward(input, state)  # type: ignore[misc]
        return state


class VanillaSame(Steps, VanillaCell): ...


class VanillaSlow(Steps, VanillaCell): ...


class LSTMSame(Steps, LSTMCell): ...


class LSTMSlow(Steps, LSTMCell): ...


class GRUSame(Steps, GRUCell): ...


class GRUSlow(Steps, GRUCell): ...
