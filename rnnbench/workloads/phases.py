"""The phases: what one timed call does with a model."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from rnnbench.cells.states import State
from rnnbench.store.records import Phase
from rnnbench.workloads.model import SequenceModel


@dataclass(frozen=True)
class TimedCall:
    """A call without arguments, and the autograd mode that is entered once around many of them."""

    call: Callable[[], object]
    mode: Callable[[], AbstractContextManager[object]]
    end: Callable[[], object] = lambda: None  # what the call holds beside memory; there are no calls after it


def inference(model: SequenceModel, input: Tensor, state: State) -> TimedCall:
    """Forward only, under `torch.inference_mode`."""
    return TimedCall(lambda: model(input, state), torch.inference_mode)


def training(model: SequenceModel, input: Tensor, state: State) -> TimedCall:
    """Forward and backward, from a fixed gradient of the output to the gradients of all parameters."""
    parameters = list(model.parameters())
    direction = _direction(model, input)

    def call() -> None:
        for parameter in parameters:
            parameter.grad = None  # or backward would add to the gradients of the call before
        model(input, state)[0].backward(direction)

    return TimedCall(call, torch.enable_grad)


def step(model: SequenceModel, input: Tensor, state: State) -> TimedCall:
    """Forward, backward and an Adam step.

    The learning rate is zero: the arithmetic is the same, and the weights of the last call are those of the first.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    direction = _direction(model, input)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(input, state)[0].backward(direction)
        optimizer.step()

    return TimedCall(call, torch.enable_grad)


PHASES: dict[Phase, Callable[[SequenceModel, Tensor, State], TimedCall]] = {
    "inference": inference,
    "training": training,
    "step": step,
}


def _direction(model: SequenceModel, input: Tensor) -> Tensor:
    """A fixed gradient of the output: (seq, batch, output)."""
    generator = torch.Generator(device=input.device).manual_seed(2)
    shape = (*input.shape[:2], model.head.out_features)
    return torch.randn(shape, generator=generator, device=input.device, dtype=input.dtype)
