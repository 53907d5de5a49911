"""Make a model comparable with its reference: a user's own class is called in the usual way and gets equal weights."""

from functools import partial

import torch
from torch import Tensor

from rnnbench.adapt.calls import adapt
from rnnbench.adapt.contract import on_trial
from rnnbench.adapt.kinds import adapt_layer
from rnnbench.cells import CellError, CellSpec
from rnnbench.cells.states import State, fails_in_inference_mode, leaves, to_cell
from rnnbench.store.records import (
    Workload,
    is_cell_reference,
)
from rnnbench.workloads.implementations import (
    Skip,
)
from rnnbench.workloads.model import (
    Cells,
    OutputHead,
    SequenceModel,
    model_weights,
    own_module,
)

NEED_STATE = ("one_to_many", "encoder_decoder", "streaming")


def adapt_model(
    model: SequenceModel, input: Tensor, usual: State, workload: Workload, reference: SequenceModel
) -> tuple[State, str]:
    """Make a model of a user's own class callable in the usual way, and its head fit the outputs.

    `input`: (steps, batch, input); `usual`: the reference's state in torch.nn's form. Returns the first state in that
    form, and why outputs can't be compared with the reference's; empty if nothing is known. Raises CellError if layers
    keep states of unlike sizes, and Skip if the task needs a state and the module takes none.
    """
    state = usual
    why = ""
    width = workload.directions * workload.hidden_size
    for body in model.bodies:
        # A decoder begins with the encoder's final state, and reads its own outputs.
        first_input = input if body is model.body else input.new_zeros(1, input.shape[1], workload.output_size)
        if isinstance(body, Cells):
            first_states = _adapt_cells(body, first_input[0], usual)
            if first_states is not None:
                width = workload.directions * first_states[0].shape[-1]
                if [(part.shape, part.dtype) for part in first_states] != [
                    (part.shape, part.dtype) for part in leaves(usual)
                ]:
                    state = first_states[0] if len(first_states) == 1 else tuple(first_states)
                    why = f"its state is not that of {workload.layer}"
        elif (adapted := adapt_layer(body.layer, first_input, usual)) is not None:
            takes_state = adapted[1].takes_state
            if not takes_state and workload.task in NEED_STATE:
                raise Skip(f"{workload.task} needs a first state, but {type(body.layer).__name__} takes none")
            body.layer = adapted[0]
            body.has_state = takes_state
            width = adapted[1].width
            if not takes_state and getattr(reference.body, "has_state", True):
                why = "it takes no state"
    if width != model.head.in_features:
        why = why or f"its outputs have {width} features where those of {workload.layer} have another number"
        weight = model.head.weight
        model.head = OutputHead(width, model.head.out_features, model.head.kind).to(weight)
    model.takes_own_gradients = fails_in_inference_mode(partial(on_trial(model), input[:1], model.own_state(state)))
    return state, why


def _adapt_cells(body: Cells, input: Tensor, usual: State) -> list[Tensor] | None:
    """Return each tensor of the first state for all cells, (layers * directions, batch, ...); None if they are none."""
    of_one = tuple(part[:1] for part in leaves(usual))
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


def take_weights(workload: Workload, spec: CellSpec, model: SequenceModel, reference: SequenceModel) -> str:
    """Give a model its reference's weights; returns why its outputs can't be compared, empty if they can.

    If they can't be given, only the head gets them and the body keeps its own. Raises CellError if a class's mapping
    does not fit it.
    """
    why = "the class asks for that (`weights_from = None`)"
    if getattr(own_module(model.body), "weights_from", ...) is not None:
        mapped = model_weights(model, dict(reference.named_parameters()))
        if mapped is not None:
            with torch.no_grad():
                for name, parameter in model.named_parameters():  # not `load_state_dict`, which would need buffers too
                    parameter.copy_(mapped[name])
            return spec.unequal
        like = f"{workload.layer}{'Cell' if isinstance(model.body, Cells) else ''}"
        why = f"no weight mapping: offer `weights_from`, or name parameters as {like} does"
        if is_cell_reference(workload.reference):
            why = f"its parameters are not those of {workload.layer}"
    if model.head.in_features == reference.head.in_features:
        model.head.load_state_dict(reference.head.state_dict())
    return why
