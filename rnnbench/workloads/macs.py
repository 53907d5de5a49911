"""Multiply-accumulates (MACs) of the matrix products of a call, by formula, backward included.

`calls.py` counts MACs from the shapes that torch shows. A fused layer hides these shapes, so its MACs come from
these formulas. The tests compare them with `torch.utils.flop_counter.FlopCounterMode`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnbench.cells import CELLS, load
from rnnbench.cells.parts import CellProducts
from rnnbench.store.records import Reference, Workload
from rnnbench.workloads.model import Body, Cells, SequenceModel, TorchLayer

EQUATIONS: dict[Reference, str] = {"rnn": "vanilla", "lstm": "lstm", "gru": "gru"}  # the cell with a layer's equations


def of_call(model: SequenceModel, workload: Workload) -> int | None:
    """MACs of one call: forward, and in training each product again for the gradients of its weights and its inputs.

    Padding is left out if the model does so. Nothing is computed for the gradients of the sequence itself and of the
    initial state, which need none. An epoch's call has the sequences of all its batches. None if a cell has no formula.
    """
    batch = workload.sequences
    body = model.body
    lengths = body.lengths if isinstance(body, TorchLayer) and not body.is_padded else None
    read = batch * workload.input_steps if lengths is None else int(lengths.sum())
    # Each body with the rows (steps of all sequences) that it runs over, and those whose input or state is given and
    # needs no gradient.
    bodies: list[tuple[Body, int, int, int, int]] = []
    if workload.task == "one_to_many":
        bodies.append((body, workload.input_size, batch * workload.output_steps, batch, batch))
    else:
        bodies.append((body, workload.input_size, read, read, batch))
    if model.decoder is not None:
        bodies.append((model.decoder, workload.output_size, batch * workload.output_steps, batch, 0))
    head = batch * workload.output_steps * workload.directions * workload.hidden_size * workload.output_size
    forward, operands = head, head  # operands: for the gradients of the products' inputs
    for part, input_size, rows, given_inputs, given_states in bodies:
        layers = _layers(part, input_size, workload)
        if layers is None:
            return None
        for number, products in enumerate(layers):
            of_input = given_inputs if number == 0 else 0
            for product in products:
                given = of_input if product.inputs else given_states
                if product.inputs and product.states:  # both side by side in one product
                    given = min(of_input, given_states)
                forward += workload.directions * rows * product.macs
                operands += workload.directions * (rows - given) * product.macs
    return forward if workload.phase == "inference" else 2 * forward + operands


def _layers(body: Body, input_size: int, workload: Workload) -> Sequence[CellProducts] | None:
    """The products of each layer in one direction; None if the cell has no `products`."""
    if isinstance(body, Cells) and body.stacked:
        stack: Any = body.cells[0]
        own: Sequence[CellProducts] = stack.products(input_size, workload.hidden_size, workload.num_layers)
        return own
    equations: Any = body.cells[0] if isinstance(body, Cells) else body.layer
    if workload.reference in EQUATIONS and type(equations).__module__.startswith("torch.nn."):
        equations = load(CELLS[EQUATIONS[workload.reference]].target, Path())
    if not hasattr(equations, "products"):
        return None
    above = [workload.directions * workload.hidden_size] * (workload.num_layers - 1)
    return [equations.products(size, workload.hidden_size) for size in (input_size, *above)]
