"""Modules that tests time, and options with which timing takes milliseconds."""

from typing import Any

import torch
from torch import nn

import rnnbench

QUICK: dict[str, Any] = {"replicates": 2, "precision": None, "budget": 600, "progress": False}
INPUT = torch.randn(4, 2, 3)  # (seq, batch, input)


def loop() -> nn.Module:
    """An LSTM, step by step."""
    return rnnbench.unroll(nn.LSTMCell(3, 5))


def pair() -> dict[str, nn.Module]:
    """The loop and torch's own layer, with equal weights."""
    layer = nn.LSTM(3, 5)
    return {"mine": rnnbench.same_weights(loop(), like=layer), "torch": layer}
