"""User's cells and modules made callable in the usual way, with the state that they begin with."""

from functools import partial

import torch
from torch import Tensor

from rnnbench.adapt.calls import adapt
from rnnbench.adapt.layers import adapt_layer
from rnnbench.adapt.states import on_trial
from rnnbench.cells import CellError
from rnnbench.cells.states import State, fails_in_inference_mode, tensors, to_cell
from rnnbench.store.records import Workload
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.model import Cells, OutputHead, SequenceModel, TorchLayer

NEED_STATE = ("one_to_many", "encoder_decoder", "streaming")


def adapted(
    model: SequenceModel, input: Tensor, usual: State, workload: Workload, reference: SequenceModel | None = None
) -> tuple[State, str]:
    """Make a model of a user's own class callable in the usual way, and its head fit the outputs.

    `input`: (steps, batch, input); `usual`: the reference's state in torch.nn's form. Returns the first state in that
    form, and why outputs can't be compared with the reference's; empty if nothing is known. Raises CellError if layers
    keep states of unlike sizes, and Skip if the task needs a state and the module takes none.
    """
    state, why, width = usual, "", workload.directions * workload.hidden_size
    for body in model.bodies:
        # A decoder begins with the encoder's final state, and reads its own outputs.
        given = input if body is model.body else input.new_zeros(1, input.shape[1], workload.output_size)
        if isinstance(body, Cells):
            own = _of_cells(body, given[0], usual)
            if own is not None:
                width = workload.directions * own[0].shape[-1]
                if [(part.shape, part.dtype) for part in own] != [(part.shape, part.dtype) for part in tensors(usual)]:
                    state = own[0] if len(own) == 1 else tuple(own)
                    why = f"its state is not that of {workload.layer}"
        elif (found := _of_layer(body, given, usual, workload)) is not None:
            width = found
            if not body.has_state and (reference is None or getattr(reference.body, "has_state", True)):
                why = "it takes no state"
    if width != model.head.in_features:
        why = why or f"its outputs have {width} features where those of {workload.layer} have another number"
        weight = model.head.weight
        model.head = OutputHead(width, model.head.out_features, model.head.kind).to(weight)
    of_model = to_cell(state, stacked=model.is_stacked) if isinstance(model.body, Cells) else state
    model.takes_own_gradients = fails_in_inference_mode(partial(on_trial(model), input[:1], of_model))
    if why and workload.reference == "none":
        why = "there is no reference"
    return state, why and f"not compared: {why}"


def _of_layer(body: TorchLayer, input: Tensor, usual: State, workload: Workload) -> int | None:
    """The features of an adapted module's outputs; None for a usual one."""
    found = adapt_layer(body.layer, input, usual)
    if found is None:
        return None
    if not found.call.takes_state and workload.task in NEED_STATE:
        raise Skip(f"{workload.task} goes on from a state, but {type(body.layer).__name__} takes none")
    body.layer, body.has_state = found.module, found.call.takes_state
    return found.width


def _of_cells(body: Cells, input: Tensor, usual: State) -> list[Tensor] | None:
    """Return each tensor of the first state for all cells, (layers * directions, batch, ...); None if they are none."""
    of_one = tuple(part[:1] for part in tensors(usual))
    usual_of_one = to_cell(of_one[0] if isinstance(usual, Tensor) else of_one, stacked=False)
    states: list[tuple[Tensor, ...]] = []
    for first in range(0, len(body.cells), body.directions):
        for index in range(first, first + body.directions):
            body.cells[index], state = adapt(body.cells[index], input, usual_of_one)
            if state is None:
                return None
            states.append(state)
        input = torch.cat([torch.zeros_like(state[0]) for state in states[first:]], dim=-1)
    if len({tuple(part.shape for part in state) for state in states}) > 1:
        raise CellError(
            f"{type(body.cells[0]).__name__} keeps states of unlike sizes in its layers or directions; "
            "expected num_layers = 1 and one direction"
        )
    return [torch.stack(list(part)) for part in zip(*states, strict=True)]
