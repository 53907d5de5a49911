"""The parts of a training step that a suite can choose: the loss, the clipping of gradients and the optimizer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnbench.cells import CellError, is_own, load_function
from rnnbench.store.records import Workload

Parameters = Iterable[nn.Parameter]
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


@dataclass(frozen=True)
class TrainingStep:
    """What a step does with an output: (steps, batch, output)."""

    optimizer: Callable[[Parameters], torch.optim.Optimizer] = torch.optim.Adam
    loss: Callable[[Tensor, Tensor], Tensor] | None = None  # of output and target; None: a fixed gradient of the output
    has_classes: bool = False  # the targets are numbers of classes, (steps, batch)
    clip: float = 0.0  # the largest norm of all gradients together; 0: they are not clipped

    def made_optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer with a learning rate of zero: the arithmetic is the same, and the weights stay the same.

        An `eps` that is zero in float16 would make weights NaN, so it is larger there. Raises CellError if a function
        makes something else.
        """
        optimizer = self.optimizer(parameters)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise CellError(f"the suite's optimizer is {type(optimizer).__name__}; expected a torch.optim.Optimizer")
        for group in optimizer.param_groups:
            group["lr"] = 0.0
            if "eps" in group and any(parameter.dtype == torch.float16 for parameter in group["params"]):
                group["eps"] = max(group["eps"] or 0.0, FLOAT16_EPS)
        return optimizer

    def backward(self, output: Tensor, target: Tensor, parameters: list[nn.Parameter]) -> None:
        """From the output to the clipped gradients of all parameters; `target`: the gradient itself without a loss."""
        if self.loss is None:
            torch.autograd.backward(output, target)
        else:
            torch.autograd.backward(self.loss(output, target))
        if self.clip:
            nn.utils.clip_grad_norm_(parameters, self.clip)


def of_workload(workload: Workload, root: Path) -> TrainingStep:
    """The step of a workload; functions of files are relative to `root`. Raises CellError if one can't be loaded."""
    loss, optimizer = workload.loss, workload.optimizer
    return TrainingStep(
        load_function(optimizer, root) if is_own(optimizer) else OPTIMIZER_CLASSES[optimizer],
        load_function(loss, root) if is_own(loss) else LOSS_FUNCTIONS.get(loss),
        loss == "cross_entropy",
        workload.clip,
    )


def target(step: TrainingStep, direction: Tensor) -> Tensor:
    """A fixed target, from a fixed draw like the output: (steps, batch, output)."""
    return direction.argmax(dim=-1) if step.has_classes else direction
