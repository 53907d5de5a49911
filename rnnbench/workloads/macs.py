"""Multiply-accumulates (MACs) of the matrix products of a call, by formula, backward included.

`probes/calls.py` counts MACs from the shapes that torch shows. A fused layer hides these shapes, so its MACs come from
these formulas. The tests compare them with `torch.utils.flop_counter.FlopCounterMode`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.cells import CELLS, load
from rnnbench.cells.parts import CellProducts, Product
from rnnbench.store.records import Reference, Workload
from rnnbench.workloads.model import Body, Cells, SequenceModel, TorchLayer

EQUATIONS: dict[Reference, str] = {"rnn": "vanilla", "lstm": "lstm", "gru": "gru"}  # the cell with a layer's equations


@dataclass(frozen=True)
class Pass:
    """One layer in one direction over the steps of all sequences, `rows` together."""

    products: CellProducts
    rows: int
    given_inputs: int  # rows whose input needs no gradient
    given_states: int  # rows whose state needs none

    @property
    def macs(self) -> int:
        """MACs of the forward pass."""
        return self.rows * sum(product.macs for product in self.products)

    @property
    def operand_macs(self) -> int:
        """MACs of the backward pass for the gradients of the products' inputs."""
        return sum(self._rows_with_gradient(product) * product.macs for product in self.products)

    def _rows_with_gradient(self, product: Product) -> int:
        if product.inputs and product.states:  # both side by side in one product
            return self.rows - min(self.given_inputs, self.given_states)
        return self.rows - (self.given_inputs if product.inputs else self.given_states)


def of_call(model: SequenceModel, workload: Workload) -> int | None:
    """MACs of one call: forward, and in training each product again for the gradients of its weights and its inputs.

    Padding is left out if the model does so. Nothing is computed for the gradients of the sequence itself and of the
    initial state, which need none. An epoch's call has the sequences of all its batches. None if a cell has no formula.
    """
    batch = workload.sequences
    body = model.body
    lengths = body.lengths if isinstance(body, TorchLayer) and not body.is_padded else None
    read = batch * workload.input_steps if lengths is None else int(lengths.sum())
    passes: list[Pass] = []
    bodies: list[tuple[Body, int, int, int, int]] = []  # body, input size, rows, given inputs, given states
    if workload.task == "one_to_many":
        bodies.append((model.body, workload.input_size, batch * workload.output_steps, batch, batch))
    else:
        bodies.append((model.body, workload.input_size, read, read, batch))
    if model.decoder is not None:
        bodies.append((model.decoder, workload.output_size, batch * workload.output_steps, batch, 0))
    for body, input_size, rows, given_inputs, given_states in bodies:
        layers = _layers(body, input_size, workload)
        if layers is None:
            return None
        for number, products in enumerate(layers):
            given = given_inputs if number == 0 else 0
            passes += [Pass(products, rows, given, given_states)] * workload.directions
    head = batch * workload.output_steps * workload.directions * workload.hidden_size * workload.output_size
    forward = head + sum(layer_pass.macs for layer_pass in passes)
    if workload.phase == "inference":
        return forward
    operands = sum(layer_pass.operand_macs for layer_pass in passes)
    return 2 * forward + head + operands  # forward, for weights, for operands


def of_step(model: SequenceModel, workload: Workload) -> int | None:
    """MACs of one forward step of the whole batch, with the decoder's if there is one; None without a formula."""
    head = workload.directions * workload.hidden_size * workload.output_size
    total = 0
    for body, input_size in ((model.body, workload.input_size), (model.decoder, workload.output_size)):
        if body is None:
            continue
        layers = _layers(body, input_size, workload)
        if layers is None:
            return None
        total += head + workload.directions * sum(product.macs for products in layers for product in products)
    return workload.batch_size * total


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
