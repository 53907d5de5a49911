"""Modules that run whole sequences, as people write them."""

from typing import Any

import torch
from torch import Tensor, nn


class BatchFirst(nn.Module):
    """Reads (batch, seq, features), and has no attribute that says so."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.inner = nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True)
        self.inner.load_state_dict(layer.state_dict())

    def forward(self, input: Tensor, state: Any = None) -> Any:
        return self.inner(input, state)


class Reversed(nn.Module):
    """Reads (seq, batch, features) from the last step to the first."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.inner = layer

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.inner(input.flip(0))[0]
        return outputs.flip(0)


class KeepsState(nn.Module):
    """Reads (batch, seq, features), and keeps its state from call to call, with its graph."""

    h: Tensor
    mean: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = nn.GRU(size, size, batch_first=True)
        self.register_buffer("mean", torch.zeros(size))
        self.h = torch.zeros(0)
        self.calls = 0

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        first = self.h if self.h.dim() == 3 and self.h.shape[1] == len(input) else None
        outputs, self.h = self.inner(input, first)
        self.mean.add_(outputs.detach().mean((0, 1)))
        found: Tensor = outputs
        return found


def of_fixed_batch(batch: int, *, batch_first: bool) -> nn.Module:
    """Return a layer that takes this many sequences only."""

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.GRU(6, 6, batch_first=batch_first)
            self.register_buffer("first", torch.zeros(1, batch, 6))

        def forward(self, input: Tensor) -> Any:
            return self.inner(input, self.first)

    return Fixed()
