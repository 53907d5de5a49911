"""Multiply-accumulates (MACs) of the matrix products of a call, by formula, backward included.

What is counted elsewhere from the shapes that torch shows (`probes/calls.py`) a fused layer hides; these formulas give
it there, and are held against `torch.utils.flop_counter.FlopCounterMode` by the tests.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnbench.cells import CELLS, CellSpec, load
from rnnbench.cells.products import Layer, Product
from rnnbench.store.records import Reference, Workload

EQUATIONS: dict[Reference, str] = {"rnn": "vanilla", "lstm": "lstm", "gru": "gru"}  # the cell that a layer computes


def layers(spec: CellSpec | None, cell: Any, workload: Workload) -> tuple[Layer, ...] | None:
    """The products of each layer of a cell, or of the torch.nn layer where `spec` is None; None where it says none."""
    sizes = workload.input_size, workload.hidden_size
    if spec is not None:
        products = getattr(cell, "products", None)
        if products is None:
            return None
        return tuple(products(*sizes, workload.num_layers)) if spec.stacked else (tuple(products(*sizes)),)
    equations: Any = load(CELLS[EQUATIONS[workload.reference]].target, Path())
    above = equations.products(workload.hidden_size, workload.hidden_size)
    return equations.products(*sizes), *[above] * (workload.num_layers - 1)


def of_step(layers: tuple[Layer, ...], workload: Workload) -> int:
    """MACs of one forward step of the whole batch, the output head included."""
    head = workload.hidden_size * workload.output_size
    return workload.batch_size * (sum(product.macs for layer in layers for product in layer) + head)


def of_call(layers: tuple[Layer, ...], workload: Workload) -> int:
    """MACs of one call: forward, and in training each product again for its weights and for what it was fed.

    Nothing is computed for what needs no gradient: the sequence itself, and the initial state. An epoch's call has the
    sequences of all its batches.
    """
    workload = replace(workload, batch_size=workload.sequences)
    forward = workload.seq_len * of_step(layers, workload)
    if workload.phase == "inference":
        return forward
    head = workload.seq_len * workload.hidden_size * workload.output_size
    for_operands = head + sum(
        _steps_with_gradient(product, number, workload.seq_len) * product.macs
        for number, layer in enumerate(layers)
        for product in layer
    )
    return 2 * forward + workload.batch_size * for_operands  # forward, for the weights, for the operands


def _steps_with_gradient(product: Product, layer: int, steps: int) -> int:
    """The steps at which what a product is fed was computed, rather than given."""
    if layer and product.inputs:
        return steps
    return steps - 1 if product.states else 0
