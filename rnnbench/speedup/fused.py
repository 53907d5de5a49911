"""The way `fused`: each layer of an LSTM, GRU or RNN is one call of rnnbench's own C (`kernels/recurrence.py`).

That call takes all steps. What has other types or shapes than the C code reads runs as given, and torch says what is
wrong, if anything is.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from rnnbench.cells.states import State, leaves
from rnnbench.kernels import recurrence
from rnnbench.kernels.recurrence import CELLS, CellCode
from rnnbench.speedup.equal_layer import EqualLayer

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
LAYERS: dict[type[nn.Module], CellCode] = {
    nn.LSTM: CELLS["lstm"],
    nn.GRU: CELLS["gru"],
    nn.RNN: CELLS["rnn_tanh"],
}


def layer_code(layer: nn.Module) -> CellCode | None:
    """Return the C code of a layer of torch.nn; None if there is none."""
    module: Any = layer
    if getattr(module, "proj_size", 0) or getattr(module, "nonlinearity", "tanh") != "tanh":
        return None
    return LAYERS.get(type(layer))


def can_fuse(layer: nn.Module | EqualLayer, input: Tensor) -> bool:
    """Return whether a layer of torch.nn, or a cell that computes the same as one, may run in this way over an input.

    The C code may still be missing: if it can't be built here.
    """
    code = CELLS.get(layer.function) if isinstance(layer, EqualLayer) else layer_code(layer)
    return code is not None and recurrence.can_read(input)


def run_layer(module: Any, input: Tensor, state: Any) -> tuple[Tensor, State]:
    """Run a layer of torch.nn of any layers and directions over (seq, batch, features), with states as it takes them.

    Without a state, it is zero. Raises Unavailable if the C code can't be built or loaded.
    """
    code = layer_code(module)
    if code is None:  # the layer was changed
        return _as_given(module, input, state)
    directions = 1 + module.bidirectional
    parameters = module._parameters
    first_input = input
    finals: list[list[Tensor]] = []
    for number in range(module.num_layers):
        both = []
        for is_reverse in (False, True)[:directions]:
            ending = f"_l{number}_reverse" if is_reverse else f"_l{number}"
            weights: Any = [parameters.get(part + ending) for part in PARTS]
            first = _of_layer(state, len(finals), module.num_layers * directions)
            if not recurrence.fits(code, input, first, weights):
                return _as_given(module, first_input, state)
            outputs, *final = recurrence.layer(code, input, first, weights, is_reverse=is_reverse)
            both.append(outputs)
            finals.append(final)
        input = both[0] if directions == 1 else torch.cat(both, 2)
        if module.dropout and module.training and number + 1 < module.num_layers:
            input = dropout(input, module.dropout)
    parts = finals[0] if len(finals) == 1 else list(map(torch.cat, zip(*finals, strict=True)))
    return input, _state(parts)


def _of_layer(state: Any, number: int, layers: int) -> tuple[Tensor, ...] | None:
    if state is None:
        return None
    parts = leaves(state)
    return parts if layers == 1 else tuple(part[number : number + 1] for part in parts)


def _state(parts: list[Tensor]) -> State:
    return parts[0] if len(parts) == 1 else tuple(parts)


def _as_given(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
    if not module.batch_first:
        return module(input, state)  # type: ignore[no-any-return]
    outputs, final = module(input.transpose(0, 1), state)
    return outputs.transpose(0, 1), final


def run_cell(layer: EqualLayer, cell: nn.Module, input: Tensor, state: Any) -> tuple[Tensor, State]:
    """Run a cell that computes the same as a layer of torch.nn over (seq, batch, features); states (1, batch, hidden).

    Raises Unavailable if the C code can't be built or loaded.
    """
    code = CELLS.get(layer.function)
    if code is None:  # the cell was changed
        return layer(cell, input, state)
    weights: Any = tuple(layer.weights(cell))
    first = _of_layer(state, 0, 1)
    if not recurrence.fits(code, input, first, weights):
        return layer(cell, input, state)
    outputs, *final = recurrence.layer(code, input, first, weights)
    return outputs, _state(final)
