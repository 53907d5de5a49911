"""Small workloads and cases for tests."""

from dataclasses import replace
from typing import Any

from rnnbench.cells import CELLS
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    LAYERS,
    Case,
    Reference,
    Workload,
)

SMALL = Workload("rnn", "inference", "many_to_many", 3, 4, 5, 6, 2, 1, "float64", "cpu", 1)

# Sizes for `workload` and `case`, from the tutorial notebook.
NOTEBOOK: dict[str, Any] = {
    "batch_size": 32,
    "seq_len": 5,
    "input_size": 10,
    "hidden_size": 20,
    "output_size": 5,
    "dtype": "float32",
}


def workload(**changes: Any) -> Workload:
    """A workload that takes microseconds; `changes` replace its axes."""
    return replace(SMALL, **changes)


def case(cell: str, implementation: Implementation = "loop", **changes: Any) -> Case:
    """A case of a registered cell against its own reference; stacked cells have three layers."""
    spec = CELLS[cell]
    defaults: dict[str, Any] = {"reference": spec.reference, "num_layers": 3 if spec.stacked else 1}
    return Case(cell, implementation, workload(**(defaults | changes)))


def reference_case(reference: Reference = "rnn", **changes: Any) -> Case:
    """The case of the torch.nn layer."""
    return Case(LAYERS[reference], "torch.nn", workload(reference=reference, **changes))
