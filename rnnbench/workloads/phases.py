"""The phases: what one timed call does with a model, whose inputs take turns.

Inputs get new values before each window: a cell that keeps results instead of computing them anew returns stale ones.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnbench.cells import CellError, is_own, load_function
from rnnbench.cells.states import State, leaves
from rnnbench.store.records import (
    CAPTURABLE,
    Phase,
    Workload,
)

COUNT = 4
INPUT_ALIGNMENT = 64  # bytes, as torch aligns its own tensors
SCALES = (0.9, 1.1)  # new values are the old ones, moved and multiplied by a number from this range
FLOAT16_EPS = 1e-4  # far above the smallest number of float16; torch's own 1e-8 is zero there
OPTIMIZER_CLASSES: Mapping[str, type[torch.optim.Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
LOSS_FUNCTIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda output, target: functional.cross_entropy(output.flatten(0, 1), target.flatten()),
    "huber": functional.huber_loss,
    "l1": functional.l1_loss,
    "mse": functional.mse_loss,
}
MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
# The loss: of output and target, each (steps, batch, output).
OptimizerAndLoss = tuple[MakeOptimizer, Callable[[Tensor, Tensor], Tensor] | None]
Mode = Callable[[], AbstractContextManager[object]]
PHASE_MODES: dict[Phase, Mode] = {
    "inference": torch.inference_mode,
    "training": torch.enable_grad,
    "step": torch.enable_grad,
}


class Inputs:
    """Inputs of one shape, type and device, which calls take in turn."""

    def __init__(self, tensors: Sequence[Tensor], buffer: Tensor, values: Tensor) -> None:
        """`buffer` is the memory of all `tensors`; `values` are those from which new ones are made. Both are flat."""
        self.tensors = tensors
        self._buffer = buffer
        self._values = values

    def renew(self, seed: str) -> None:
        """Give all inputs new values in place; equal seeds give equal values."""
        draw = random.Random(seed)
        start = draw.randrange(len(self._values))
        scale = draw.uniform(*SCALES)
        filled = 0
        with torch.no_grad():
            while filled < len(self._buffer):
                part = self._values[start : start + len(self._buffer) - filled]
                if part.is_floating_point():
                    torch.mul(part, scale, out=self._buffer[filled : filled + len(part)])
                else:  # tokens are only moved
                    self._buffer[filled : filled + len(part)] = part
                filled = filled + len(part)
                start = 0


def in_turn(values: Tensor) -> Inputs:
    """Make inputs that overlap in memory, a cache line apart, so that all take little more of it than one."""
    shift = INPUT_ALIGNMENT // values.element_size()
    buffer = values.new_empty(values.numel() + shift * (COUNT - 1))
    tensors = [
        # Not views, which torch may treat unlike other tensors.
        values.new_empty(0).set_(buffer.untyped_storage(), shift * index, values.shape)  # type: ignore[call-overload]
        for index in range(COUNT)
    ]
    inputs = Inputs(tensors, buffer, values.flatten())
    inputs.renew("first")
    return inputs


def fixed(input: Tensor) -> Inputs:
    """Return a single input, which stays where it is in memory: that of a recorded graph, which runs no Python code."""
    return Inputs([input], input.view(-1), input.flatten().clone())


def optimizer_and_loss(workload: Workload, root: Path) -> OptimizerAndLoss:
    """Return a workload's optimizer and loss; without a loss, backward begins with a fixed gradient of the output.

    Functions of files are relative to `root`. Raises CellError if one can't be loaded.
    """
    loss = workload.loss
    optimizer = workload.optimizer
    return (
        load_function(optimizer, root) if is_own(optimizer) else make_optimizer(optimizer),
        load_function(loss, root) if is_own(loss) else LOSS_FUNCTIONS.get(loss),
    )


def is_capturable(workload: Workload) -> bool:
    """Return True if a step's optimizer counts its steps on the device, so that a graph can hold the whole step."""
    return workload.optimizer.endswith(CAPTURABLE) and not is_own(workload.optimizer)


def make_optimizer(name: str) -> MakeOptimizer:
    """Return a function that makes an optimizer of `OPTIMIZERS`; `adam-fused` is `Adam(..., fused=True)`."""
    kind, _, option = name.partition("-")
    options: dict[str, Any] = {option: True} if option else {}
    return partial(OPTIMIZER_CLASSES[kind], **options)


def resting(make: MakeOptimizer, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Return an optimizer with a learning rate of zero: equal arithmetic, and the weights stay the same.

    An `eps` that is zero in float16 would make weights NaN, so it is larger there. Raises CellError if a function makes
    something else.
    """
    optimizer = make(parameters)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise CellError(f"the suite's optimizer is {type(optimizer).__name__}; expected a torch.optim.Optimizer")
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        if "eps" in group and any(parameter.dtype == torch.float16 for parameter in group["params"]):
            group["eps"] = max(group["eps"] or 0.0, FLOAT16_EPS)
    return optimizer


@dataclass(frozen=True)
class TimedCall:
    """A call without arguments, and the autograd mode that is entered once around many of them."""

    call: Callable[[], object]
    mode: Mode
    close: Callable[[], object] = lambda: None  # releases what the call holds besides memory; no call comes after it
    pool: tuple[int, int] | None = None  # the allocator's pool for the memory of a recorded graph
    inputs: Inputs | None = None  # that the calls take in turn; None if they draw from a data set, or are a user's own
    restart: Callable[[], object] = lambda: None  # sets back what calls hand on to later ones

    def renew(self, seed: str) -> None:
        """Prepare the calls of a window: nothing is left of earlier calls, and inputs have new values."""
        self.restart()
        if self.inputs is not None:
            self.inputs.renew(seed)


def timed_call(
    workload: Workload,
    model: nn.Module,
    inputs: Sequence[Tensor],
    state: State,
    trains_with: OptimizerAndLoss = (torch.optim.Adam, None),
    recorded_direction: Tensor | None = None,
) -> TimedCall:
    """Return the call of a workload's phase, for a model (input, state) -> (output, state); inputs take turns.

    `recorded_direction`: the memory from which a recorded backward reads the gradient of the output.
    """
    next_input = cycle(inputs).__next__
    mode = PHASE_MODES[workload.phase]
    if workload.phase == "inference":
        return TimedCall(lambda: model(next_input(), state), mode)
    parameters = list(model.parameters())
    direction = direction_of(workload, state) if recorded_direction is None else recorded_direction
    if workload.phase == "training":  # forward, and from a fixed gradient of the output to those of all parameters

        def call() -> None:
            for parameter in parameters:
                parameter.grad = None  # or backward would add to the gradients of the previous call
            model(next_input(), state)[0].backward(direction)

        return TimedCall(call, mode)
    optimizer = resting(trains_with[0], parameters)
    loss = trains_with[1]
    if loss is not None and recorded_direction is not None:  # into which the gradient of the loss is copied
        direction = direction_of(workload, state)
    has_classes = loss is LOSS_FUNCTIONS["cross_entropy"]  # whose targets are numbers: (steps, batch)
    target = direction.argmax(dim=-1) if has_classes else direction

    def backward(output: Tensor) -> None:
        if loss is None:
            torch.autograd.backward(output, target)
        else:
            torch.autograd.backward(loss(output, target))
        if workload.clip:
            nn.utils.clip_grad_norm_(parameters, workload.clip)

    def whole_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        backward(model(next_input(), state)[0])  # nothing holds the output while the optimizer works
        optimizer.step()

    return TimedCall(whole_step, mode)


def direction_of(workload: Workload, state: State) -> Tensor:
    """Return the fixed gradient of a workload's output, from which backward begins: (steps, batch, output)."""
    return fixed_direction(leaves(state)[0], (workload.output_steps, workload.batch_size, workload.output_size))


def fixed_direction(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a fixed gradient of an output of this shape, of the type and on the device of another tensor."""
    generator = torch.Generator(device=like.device).manual_seed(2)
    return torch.randn(tuple(shape), generator=generator, device=like.device, dtype=like.dtype)


class StepStream:
    """Steps of a model from its first state on."""

    def __init__(self, model: Callable[..., Any], inputs: Sequence[Tensor], state: State) -> None:
        """`model(input, state) -> (output, state)` for inputs of one step: (1, batch, input)."""
        self._model = model
        self._next_input = cycle(inputs).__next__
        self._first = self._state = state

    def step(self) -> Tensor:
        """Return the output of the next step: (1, batch, output)."""
        output: Tensor
        output, self._state = self._model(self._next_input(), self._state)
        return output

    def restart(self) -> None:
        """Begin again with the first state."""
        self._state = self._first
