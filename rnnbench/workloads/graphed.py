"""CUDA graphs: forward and backward recorded once and replayed as one launch each."""

import gc
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State
from rnnbench.workloads.model import SequenceModel

Pool = tuple[int, int]  # how torch's caching allocator identifies a graph's own memory


class Replayed(nn.Module):
    """A model to be recorded; its parameters are the model's own."""

    def __init__(self, model: nn.Module, pool: Pool) -> None:
        super().__init__()
        self.model = model
        self.pool = pool

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Call the model."""
        result: tuple[Tensor, State] = self.model(input, state)
        return result


class Recordings:
    """Keeps the last recording of one model, since each holds all memory that the model needs in a call."""

    def __init__(self) -> None:
        self._last: Replayed | None = None
        self._drawn: tuple[float, ...] = ()

    def of(self, model: SequenceModel, input: Tensor, state: State) -> Replayed:
        """The recording of the model as it is now. A new one is made only if the model's dropout has changed."""
        drawn = (float(model.training), *(owner.dropout for owner in model.dropout_owners))
        if self._last is None or drawn != self._drawn:
            if self._last is not None:
                self._last = None
                gc.collect()  # a recording is in reference cycles, and workers run without garbage collection
            self._last, self._drawn = record(model, input, state), drawn
        return self._last


def record(model: nn.Module, input: Tensor, state: State) -> Replayed:
    """Record what the model does on `input` and `state` in the current autograd mode; returns the replay.

    `input` and `state` are the graph's own memory: a call with exactly these copies nothing, and other arguments are
    copied into them first. The next call overwrites what this call returned.
    """
    graphed: Any = torch.cuda.make_graphed_callables  # untyped in torch
    pool: Pool = torch.cuda.graph_pool_handle()
    replayed: Replayed = graphed(Replayed(model, pool), (input, state), allow_unused_input=True, pool=pool)
    return replayed
