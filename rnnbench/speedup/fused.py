"""The way `fused`: each layer of an LSTM is one call of rnnbench's own C, which takes all steps (`kernels/lstm.py`).

What has other types or shapes than the C code reads runs as given, and torch says what is wrong, if anything is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from rnnbench.cells.states import State
from rnnbench.kernels import lstm
from rnnbench.speedup.equal_layer import EqualLayer

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
LayerCall = Callable[[Any, Tensor, Any], tuple[Tensor, State]]


def can_fuse(layer: nn.Module, input: Tensor) -> bool:
    """Return whether a layer of torch.nn may run in this way over an input, if the C code can be built here."""
    return type(layer) is nn.LSTM and not layer.proj_size and lstm.can_read(input)


def is_lstm(layer: EqualLayer, input: Tensor) -> bool:
    """Return whether a cell that computes the same as this layer may run in this way over an input."""
    return layer.function == "lstm" and lstm.can_read(input)


def run_layer(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
    """Run a torch.nn.LSTM of any layers and directions over (seq, batch, features), with states as it takes them.

    Raises Unavailable if the C code can't be built or loaded.
    """
    return _apart(_run_layer, module, input, state)


def run_cell(layer: EqualLayer, cell: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
    """Run a cell that computes the same as an LSTM of torch.nn over (seq, batch, features); states (1, batch, hidden).

    Raises Unavailable if the C code can't be built or loaded.
    """
    return _apart(_run_cell, layer, cell, input, state)


def _apart(run: Callable[..., tuple[Tensor, State]], *arguments: Any) -> tuple[Tensor, State]:
    """Call a function that torch.compile must not look into."""
    if torch.compiler.is_compiling():
        from rnnbench.speedup.no_graph import called

        return called(run, *arguments)
    return run(*arguments)


def _run_layer(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
    h, c = state
    directions, given = (2 if module.bidirectional else 1), input
    last_h, last_c = [], []
    for first in range(0, len(h), directions):
        shown = []
        for is_reverse in range(directions):
            ending = f"_l{first // directions}" + ("_reverse" if is_reverse else "")
            weights: Any = tuple(getattr(module, f"{part}{ending}", None) for part in PARTS)
            begun = h[first + is_reverse], c[first + is_reverse]
            if not lstm.fits(input, begun, weights):
                return _as_given(module, given, state)
            outputs, *final = lstm.layer(input, begun, weights, is_reverse=bool(is_reverse))
            shown.append(outputs)
            last_h.append(final[0])
            last_c.append(final[1])
        input = shown[0] if directions == 1 else torch.cat(shown, 2)
        if module.dropout and module.training and first + directions < len(h):
            input = dropout(input, module.dropout)
    return input, (_stacked(last_h), _stacked(last_c))


def _stacked(states: list[Tensor]) -> Tensor:
    return states[0][None] if len(states) == 1 else torch.stack(states)


def _as_given(module: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
    if not module.batch_first:
        return module(input, state)  # type: ignore[no-any-return]
    outputs, final = module(input.transpose(0, 1), state)
    return outputs.transpose(0, 1), final


def _run_cell(layer: EqualLayer, cell: nn.Module, input: Tensor, state: Any) -> tuple[Tensor, State]:
    if layer.function != "lstm":  # the cell was changed
        return layer(cell, input, state)
    weights: Any = tuple(layer.weights(cell))
    begun = state[0][0], state[1][0]
    if not lstm.fits(input, begun, weights):
        return layer(cell, input, state)
    outputs, h, c = lstm.layer(input, begun, weights)
    return outputs, (h[None], c[None])
