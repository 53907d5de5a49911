"""The ways to run a cell over a sequence: `run(body, input, state) -> (outputs, state)`.

`input`: (seq, batch, input), `outputs`: (seq, batch, hidden); states are in the cell's form for a cell, in the
layer's form for a torch.nn layer (see `rnnbench.cells.states`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State, output
from rnnbench.store.records import Implementation

Run = Callable[[Any, Tensor, State, bool], tuple[Tensor, State]]


class Skip(Exception):
    """The case makes no sense, for the reason given; it keeps its row."""


def loop(cell: nn.Module, input: Tensor, state: State, stacked: bool) -> tuple[Tensor, State]:
    """One call of the cell for each step."""
    outputs = []
    for step in input.unbind(0):
        state = cell(step, state)
        outputs.append(output(state, stacked=stacked))
    return torch.stack(outputs), state


def hoisted(cell: Any, input: Tensor, state: State, stacked: bool) -> tuple[Tensor, State]:
    """The input's products for all steps at once, before the loop; then one `advance` for each step."""
    outputs = []
    for projected in cell.project(input).unbind(0):
        state = cell.advance(projected, state)
        outputs.append(output(state, stacked=stacked))
    return torch.stack(outputs), state


def whole_layer(layer: nn.Module, input: Tensor, state: State, stacked: bool) -> tuple[Tensor, State]:
    """The torch.nn layer, which takes the sequence as it is."""
    result: tuple[Tensor, State] = layer(input, state)
    return result


RUNS: dict[Implementation, Run] = {"loop": loop, "hoisted": hoisted, "torch.nn": whole_layer}


def check_applies(cell: nn.Module, implementation: Implementation) -> None:
    """Raise Skip where an implementation can't run this cell."""
    if implementation == "hoisted" and not (hasattr(cell, "project") and hasattr(cell, "advance")):
        raise Skip("nothing to hoist: the cell has no `project` and `advance`")
