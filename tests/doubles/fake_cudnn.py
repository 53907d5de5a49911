"""cuDNN's view of a layer's weights, on a processor: weights that are not one block of memory are packed in each call.

`nn.RNNBase.flatten_parameters` makes them one block, as on a card; `copy.deepcopy` gives each weight memory of its own.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class FakeCudnn:
    """Stands for `torch._VF` in torch's layers, and counts how often weights are packed."""

    def __init__(self) -> None:
        self.packings = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let torch's layers run here."""
        real: Any = torch.nn.modules.rnn._VF  # type: ignore[attr-defined]
        monkeypatch.setattr(torch.nn.modules.rnn, "_VF", self)
        monkeypatch.setattr(nn.RNNBase, "flatten_parameters", _flatten)
        for name in LAYERS:
            setattr(self, name, self._counting(getattr(real, name)))

    def _counting(self, layer: Any) -> Any:
        def run(input: Tensor, state: Any, weights: Sequence[Tensor], *options: Any) -> Any:
            self.packings += len({weight.untyped_storage().data_ptr() for weight in weights}) > 1
            return layer(input, state, weights, *options)

        return run


def _flatten(layer: Any) -> None:
    weights = [weight for weight in layer._flat_weights if isinstance(weight, Tensor)]
    block = torch.cat([weight.detach().flatten() for weight in weights])
    parts = block.split([weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.data = part.view_as(weight)
