"""The tasks: what goes into the sequence, and which steps give an output.

`task(model, input, state) -> (output, state)` with `input`: (steps, batch, input) and `output`: (steps, batch, output).
Whether the body is made of cells or a torch.nn layer makes no difference here, so both sides do the same work.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State
from rnnbench.store.records import LAYERS, Task, Workload
from rnnbench.workloads.implementations import Skip

FeedBack = Callable[[Any, nn.Module, Tensor, State, int], tuple[Tensor, State]]


class TaskModel(Protocol):
    """What a task needs of a `SequenceModel`."""

    body: Any
    decoder: Any
    feed_back: FeedBack
    output_steps: int

    @property
    def head(self) -> nn.Linear:
        """The product that makes outputs of the body's features."""


RunTask = Callable[[TaskModel, Tensor, State], tuple[Tensor, State]]


def many_to_many(model: TaskModel, input: Tensor, state: State) -> tuple[Tensor, State]:
    """An output for each step; the head is one product over all of them."""
    outputs, state = model.body(input, state)
    return model.head(outputs), state


def many_to_one(model: TaskModel, input: Tensor, state: State) -> tuple[Tensor, State]:
    """One output, from the top layer's final state."""
    outputs, state = model.body(input, state)
    return model.head(model.body.last(outputs, state))[None], state


def one_to_many(model: TaskModel, input: Tensor, state: State) -> tuple[Tensor, State]:
    """One input step; each further step gets the previous output."""
    return model.feed_back(model.body, model.head, input[0], state, model.output_steps)


def encoder_decoder(model: TaskModel, input: Tensor, state: State) -> tuple[Tensor, State]:
    """One body reads the sequence; another starts from its final state and zeros, and gets its own outputs."""
    _, state = model.body(input, state)
    start = input.new_zeros(input.shape[1], model.head.out_features)
    return model.feed_back(model.decoder, model.head, start, state, model.output_steps)


TASKS: dict[Task, RunTask] = {
    "many_to_many": many_to_many,
    "many_to_one": many_to_one,
    "one_to_one": many_to_many,
    "streaming": many_to_many,
    "one_to_many": one_to_many,
    "encoder_decoder": encoder_decoder,
}


def feed_back(body: Any, head: nn.Module, fed: Tensor, state: State, steps: int) -> tuple[Tensor, State]:
    """`steps` outputs, each fed to the next step: (batch, input) -> (steps, batch, output), final state."""
    outputs = []
    for _ in range(steps):
        hidden, state = body.step(fed, state)
        fed = head(hidden)
        outputs.append(fed)
    return torch.stack(outputs), state


def check_makes_sense(workload: Workload) -> None:
    """Raise Skip if a workload's axes do not fit its task."""
    feeds_back = workload.task in ("one_to_many", "encoder_decoder")
    if workload.task == "one_to_one" and workload.seq_len != 1:
        raise Skip(f"one_to_one is a single step, but seq_len is {workload.seq_len}")
    if workload.is_streamed:
        _check_streams(workload)
    if workload.task == "one_to_many" and workload.input_size != workload.output_size:
        raise Skip(
            f"one_to_many feeds outputs back as inputs, but output_size {workload.output_size} differs from input_size "
            f"{workload.input_size}"
        )
    if workload.output_len and workload.task != "encoder_decoder":
        raise Skip(f"output_len needs the task encoder_decoder, but the task is {workload.task}")
    if feeds_back and workload.bidirectional:
        raise Skip(f"{workload.task} feeds outputs back, so it can't run in two directions")
    if workload.task == "one_to_many" and workload.lengths == "varied":
        raise Skip("one_to_many reads one step, so there are no lengths to vary")
    if workload.phase == "epoch" and (workload.task != "many_to_many" or workload.lengths == "varied"):
        raise Skip("the phase `epoch` needs a target for each step and sequences of equal length")
    if workload.input != "features":
        if workload.reference in LAYERS:
            raise Skip(f"{LAYERS[workload.reference]} reads features, but the input is {workload.input}")
        if feeds_back or workload.phase == "epoch":
            what = workload.task if feeds_back else "an epoch"
            raise Skip(f"{what} gives features as inputs, but the input is {workload.input}")
    if workload.dropout and workload.num_layers == 1:
        raise Skip("dropout applies between layers, but num_layers is 1")


def _check_streams(workload: Workload) -> None:
    if workload.seq_len != 1:
        raise Skip(f"streaming takes one step a call, but seq_len is {workload.seq_len}")
    if workload.phase != "inference":
        raise Skip(f"streaming carries a state without gradients, but the phase is {workload.phase}")
    if workload.bidirectional:
        raise Skip("streaming can't run in two directions: the future is not known yet")
