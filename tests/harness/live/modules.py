"""Modules that tests time, and options with which timing takes milliseconds."""

from typing import Any

import torch
from torch import Tensor, nn

QUICK: dict[str, Any] = {"replicates": 2, "precision": None, "progress": False}
INPUT = torch.randn(4, 2, 3)  # (seq, batch, input)


class Loop(nn.Module):
    """A hand-written LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 5)

    def forward(self, input: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        state, outputs = (input.new_zeros(input.shape[1], 5),) * 2, []
        for step in input:
            state = self.cell(step, state)
            outputs.append(state[0])
        return torch.stack(outputs), state


def pair() -> dict[str, nn.Module]:
    """The hand-written loop and torch's own layer, with equal weights."""
    mine, layer = Loop(), nn.LSTM(3, 5)
    mine.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    return {"mine": mine, "torch": layer}
