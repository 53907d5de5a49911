"""CUDA graphs: forward and backward recorded once and replayed as one launch each."""

from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State


class Replayed(nn.Module):
    """A model to be recorded; its parameters are the model's own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """As the model."""
        result: tuple[Tensor, State] = self.model(input, state)
        return result


def record(model: nn.Module, input: Tensor, state: State) -> nn.Module:
    """The model as a replay of what it does on `input` and `state`, in the autograd mode of the moment.

    The two are the graph's own memory: called with just them, nothing is copied; called with others, those are copied
    into them first. What it returns is overwritten by the next call.
    """
    graphed: Any = torch.cuda.make_graphed_callables  # untyped in torch
    replayed: nn.Module = graphed(Replayed(model), (input, state), allow_unused_input=True)
    return replayed
