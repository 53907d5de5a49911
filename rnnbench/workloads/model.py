"""The model that is timed: a body over the sequence, the output head, and the task that connects them."""

from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.states import rebuilt
from rnnbench.cells.own_gradients import outside_inference_mode
from rnnbench.cells.states import State, to_cell, to_layer
from rnnbench.store.records import Head, Task
from rnnbench.workloads.bodies import Body, Cells
from rnnbench.workloads.tasks import TASKS, FeedBack, feed_back


class OutputHead(nn.Linear):
    """The product that makes outputs of a body's features, and what follows it: (..., features) -> (..., output)."""

    def __init__(self, features: int, outputs: int, kind: Head) -> None:
        super().__init__(features, outputs)
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        """The outputs."""
        outputs = super().forward(input)
        return outputs.softmax(-1) if self.kind == "softmax" else outputs


class SequenceModel(nn.Module):
    """`model(input, state) -> (output, state)`, the same on both sides of a comparison.

    `input`: (steps, batch, input), `output`: (steps, batch, output); `state` in the body's own form.
    """

    def __init__(
        self,
        body: Body,
        head: OutputHead,
        task: Task,
        *,
        output_steps: int = 1,
        decoder: Body | None = None,
        feed_back: FeedBack = feed_back,
    ) -> None:
        """`output_steps`: for a task that feeds outputs back; `decoder`: the second body of encoder_decoder."""
        super().__init__()
        self.body = body
        self.head = head
        self.decoder = decoder
        self.task = TASKS[task]
        self.output_steps = output_steps
        self.feed_back = feed_back
        self.takes_own_gradients = False  # and so can't run in inference mode

    @property
    def bodies(self) -> list[Body]:
        """The body, and the decoder if there is one."""
        return [self.body] if self.decoder is None else [self.body, self.decoder]

    @property
    def dropout_owners(self) -> list[Any]:
        """The modules with a `dropout` between their layers; a user's own module gets none."""
        owners = [body if isinstance(body, Cells) else body.layer for body in self.bodies]
        return [owner for owner in owners if isinstance(owner, Cells | nn.RNNBase)]

    @property
    def is_stacked(self) -> bool:
        """Whether the body is made of cells and takes a tuple of states."""
        return isinstance(self.body, Cells) and (self.body.stacked or len(self.body.cells) > 1)

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the task."""
        if self.takes_own_gradients and torch.is_inference_mode_enabled():
            with outside_inference_mode():
                return self.task(self, input, state)
        return self.task(self, input, state)


class LayerStateModel(nn.Module):
    """A cell's sequence model that takes and returns states in torch.nn's form, for the parity check."""

    def __init__(self, model: SequenceModel, runner: nn.Module) -> None:
        """`runner` is called in place of the model: the model itself, or a recording of it."""
        super().__init__()
        self.model = model
        self.runner = runner

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the model, with `state`: (num_layers * directions, batch, hidden), or two of them."""
        result, final = self.runner(input, to_cell(state, stacked=self.model.is_stacked))
        return result, to_layer(final, stacked=self.model.is_stacked)


class StepModel(nn.Module):
    """One step of a model, for torchinfo to count."""

    def __init__(self, model: SequenceModel, state: State) -> None:
        """`state` has the form in which `forward` puts the single tensors that it gets."""
        super().__init__()
        self.body = model.body
        self.decoder = model.decoder
        self.head = model.head
        self.like = state

    def forward(self, input: Tensor, *states: Tensor) -> Tensor:
        """One step, with the decoder's too: (batch, input), the tensors of the state -> (batch, output)."""
        # torchinfo passes tensors one by one and counts their bytes.
        hidden, state = self.body.step(input, rebuilt(self.like, iter(states)))
        if self.decoder is not None:
            hidden, _ = self.decoder.step(self.head(hidden), state)
        result: Tensor = self.head(hidden)
        return result
