"""The phases: what one timed call does with a model."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State, leaves
from rnnbench.store.records import Phase
from rnnbench.workloads.inputs import Inputs
from rnnbench.workloads.training.step import TrainingStep, target

Mode = Callable[[], AbstractContextManager[object]]
ADAM = TrainingStep()


@dataclass(frozen=True)
class TimedCall:
    """A call without arguments, and the autograd mode that is entered once around many of them."""

    call: Callable[[], object]
    mode: Mode
    end: Callable[[], object] = lambda: None  # releases what the call holds besides memory; no call comes after it
    pool: tuple[int, int] | None = None  # the allocator's pool for the memory of a recorded graph
    inputs: Inputs | None = None  # that the calls take in turn; None if they draw from a data set, or are a user's own
    restart: Callable[[], object] = lambda: None  # sets back what calls hand on to later ones

    def renew(self, seed: str) -> None:
        """Prepare the calls of a window: nothing is left of earlier calls, and inputs have new values."""
        self.restart()
        if self.inputs is not None:
            self.inputs.renew(seed)


MODES: dict[Phase, Mode] = {
    "inference": torch.inference_mode,
    "training": torch.enable_grad,
    "step": torch.enable_grad,
}


def timed_call(
    phase: Phase,
    model: nn.Module,
    inputs: Sequence[Tensor],
    state: State,
    output_shape: Sequence[int],
    training_step: TrainingStep = ADAM,
) -> TimedCall:
    """The call of a phase, which takes the inputs in turn; `training_step`: of the phase `step`.

    `model(input, state) -> (output, state)`, `output_shape`: (steps, batch, output).
    """
    if phase == "step":
        return TimedCall(step(model, inputs, state, output_shape, training_step), MODES[phase])
    return TimedCall(PHASES[phase](model, inputs, state, output_shape), MODES[phase])


def inference(
    model: nn.Module, inputs: Sequence[Tensor], state: State, output_shape: Sequence[int]
) -> Callable[[], object]:
    """Forward only, under `torch.inference_mode`."""
    next_input = cycle(inputs).__next__
    return lambda: model(next_input(), state)


def training(
    model: nn.Module, inputs: Sequence[Tensor], state: State, output_shape: Sequence[int]
) -> Callable[[], object]:
    """Forward and backward, from a fixed gradient of the output to the gradients of all parameters."""
    parameters = list(model.parameters())
    direction, next_input = fixed_direction(leaves(state)[0], output_shape), cycle(inputs).__next__

    def call() -> None:
        for parameter in parameters:
            parameter.grad = None  # or backward would add to the gradients of the previous call
        model(next_input(), state)[0].backward(direction)

    return call


def step(
    model: nn.Module,
    inputs: Sequence[Tensor],
    state: State,
    output_shape: Sequence[int],
    training_step: TrainingStep = ADAM,
) -> Callable[[], object]:
    """Forward, backward and a step of the optimizer, whose learning rate is zero."""
    parameters = list(model.parameters())
    optimizer, next_input = training_step.made_optimizer(parameters), cycle(inputs).__next__
    wanted = target(training_step, fixed_direction(leaves(state)[0], output_shape))

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        training_step.backward(model(next_input(), state)[0], wanted, parameters)
        optimizer.step()

    return call


PHASES: dict[Phase, Callable[[nn.Module, Sequence[Tensor], State, Sequence[int]], Callable[[], object]]] = {
    "inference": inference,
    "training": training,
    "step": step,
}


def fixed_direction(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A fixed gradient of an output of this shape, of the type and on the device of another tensor."""
    generator = torch.Generator(device=like.device).manual_seed(2)
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)
