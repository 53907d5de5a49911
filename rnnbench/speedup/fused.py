"""The way `fused`: each layer of an LSTM is one call of rnnbench's own C, which takes all steps (`kernels/lstm.py`).

What has other types or shapes than the C code reads runs as given, and torch says what is wrong, if anything is.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from rnnbench.cells.states import State
from rnnbench.kernels import lstm
from rnnbench.speedup.equal_layer import EqualLayer

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def can_fuse(layer: nn.Module, input: Tensor) -> bool:
    """Return whether a layer of torch.nn may run in this way over an input, if the C code can be built here."""
    return type(layer) is nn.LSTM and not layer.proj_size and lstm.can_read(input)


def is_lstm(layer: EqualLayer, input: Tensor) -> bool:
    """Return whether a cell that computes the same as this layer may run in this way over an input."""
    return layer.function == "lstm" and lstm.can_read(input)


def run_layer(module: Any, input: Tensor, state: Any) -> tuple[Tensor, State]:
    """Run a torch.nn.LSTM of any layers and directions over (seq, batch, features), with states as it takes them.

    Without a state, it is zero. Raises Unavailable if the C code can't be built or loaded.
    """
    directions = 1 + module.bidirectional
    layers = module.num_layers
    parameters = module._parameters
    given = input
    finals: list[Any] = []
    for number in range(layers):
        shown = []
        for is_reverse in (False, True)[:directions]:
            ending = f"_l{number}_reverse" if is_reverse else f"_l{number}"
            weights: Any = [parameters.get(part + ending) for part in PARTS]
            begun = state if layers * directions == 1 else _of_layer(state, len(finals))
            if not lstm.fits(input, begun, weights):
                return _as_given(module, given, state)
            outputs, *final = lstm.layer(input, begun, weights, is_reverse=is_reverse)
            shown.append(outputs)
            finals.append(tuple(final))
        input = shown[0] if directions == 1 else torch.cat(shown, 2)
        if module.dropout and module.training and number + 1 < layers:
            input = dropout(input, module.dropout)
    return input, finals[0] if len(finals) == 1 else tuple(map(torch.cat, zip(*finals, strict=True)))


def _of_layer(state: Any, number: int) -> Any:
    return state if state is None else tuple(part[number : number + 1] for part in state)


def _as_given(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
    if not module.batch_first:
        return module(input, state)  # type: ignore[no-any-return]
    outputs, final = module(input.transpose(0, 1), state)
    return outputs.transpose(0, 1), final


def run_cell(layer: EqualLayer, cell: nn.Module, input: Tensor, state: Any) -> tuple[Tensor, State]:
    """Run a cell that computes the same as an LSTM of torch.nn over (seq, batch, features); states (1, batch, hidden).

    Raises Unavailable if the C code can't be built or loaded.
    """
    if layer.function != "lstm":  # the cell was changed
        return layer(cell, input, state)
    weights: Any = tuple(layer.weights(cell))
    if not lstm.fits(input, state, weights):
        return layer(cell, input, state)
    outputs, *final = lstm.layer(input, state, weights)
    return outputs, tuple(final)
