"""Steps of an adapted cell without conversions: each step gets the state as the step before returned it.

`CellCall.run` takes and gives the usual form, in which a state of a cell's own structure is taken apart and put
together in each step. Here that is done once before the first step and once after the last one. A step is then the
call that a hand-written loop makes.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rnnbench.adapt.calls import Adapted, CellCall
from rnnbench.adapt.forms import STEP_FORMS, Pick
from rnnbench.cells.states import rebuilt, tensors_of


def can_step_directly(cell: nn.Module) -> bool:
    """Return whether a cell is one that `run_directly` takes: a step that was adapted to the usual form."""
    call = getattr(cell, "call", None) if isinstance(cell, Adapted) else None
    return isinstance(call, CellCall) and not call.flattens


def run_usual(cell: Any, inputs: Sequence[Tensor], state: Any) -> tuple[list[Tensor], Any]:
    """Run an adapted cell as `run_directly`, from and to a state in the usual form."""
    parts = (state,) if isinstance(state, Tensor) else state
    outputs, cell_state = run_directly(cell, inputs, cell.call.cell_state(parts))
    return outputs, usual_state(cell.call, outputs[-1], cell_state)


def run_directly(cell: Any, inputs: Sequence[Tensor], cell_state: Any) -> tuple[list[Tensor], Any]:
    """Run an adapted cell over the steps of a sequence, one or more; returns the outputs and the final state.

    `inputs`: (batch, ...) of each step, in the order of the steps; `cell_state`: the first state as the cell takes it,
    which is also the form of the final one. Outputs are (batch, hidden).
    """
    call: CellCall = cell.call
    forward = cell.given

    def on_a_copy(input: Tensor, *state: Any) -> Any:
        form = call.like if call.taking == "second" else (*call.like,)
        parts = state[0] if call.taking == "second" else state
        new = rebuilt(form, iter([part.clone() for part in tensors_of(parts, form)]))
        return call.result(forward, input, new)

    step = on_a_copy if call.copies_state else forward
    return STEP_FORMS[call.giving].loop(step, inputs, cell_state, picked(call), call.taking == "apart")


def picked(call: CellCall) -> Pick:
    """Return a function that picks the output from a cell's state, for a cell that returns only a state."""
    index = call.output_index or 0
    return call.getters[index] if call.getters else lambda state: call.flat(None, state)[0]


def usual_state(call: CellCall, output: Tensor, cell_state: Any) -> Any:
    """Return the final state in the usual form, from the last output and the cell's own state: `CellCall.flat`."""
    if call.output_index or not call.getters:
        parts = call.flat(output, cell_state)
    else:
        parts = tuple([get(cell_state) for get in call.getters])
        if call.output_index is None:
            parts = (output, *parts)
    return parts[0] if len(parts) == 1 else parts
