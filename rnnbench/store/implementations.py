"""The implementations that a suite can name: one row for each, the plainest first, as a ladder climbs.

Everything that tells implementations apart by name loops over these rows or asks one; what builds an implementation is
its row of `RUNNERS` in `rnnbench/workloads/implementations.py`. To add one, write both rows, and name it in `Swept`.
"""

from dataclasses import dataclass
from typing import Literal

GRAPHED_GRADIENTS = "it records a CUDA graph, whose next call would write over the gradients of the last one"
Swept = Literal[  # implementations that a suite names
    "loop",
    "hoisted",
    "transposed",
    "compiled",
    "prepacked",
    "scan",
    "cudagraph",
    "reduce-overhead",
    "sequence",
    "torch.nn-cell",
    "torch.nn-padded",
    "torch.nn-flattened",
    "torch.nn-cudagraph",
    "torch.nn",
    "per_item",
    "vectorised",
]
Implementation = Literal[Swept, "reference"]  # reference: of a cell that the others of its group are compared with


@dataclass(frozen=True, kw_only=True)
class ImplementationRow:
    """What is known of an implementation, whatever it runs."""

    name: Implementation
    label: str | None = None  # in the names of series, behind the cell's; None: its own name
    is_reference: bool = False  # the others of its group are compared with it
    is_whole: bool = False  # one module runs the whole sequence
    torch_class: str = ""  # of torch's own code: the class that it runs, with the layer's in braces
    backend: str = ""  # what runs it, if it is not made of plain operators
    is_compiled: bool = False  # by torch.compile, which takes time before the first call
    mode: str = ""  # of torch.compile, in which it records CUDA graphs itself
    is_recorded: bool = False  # and replayed: a call asks for no memory
    is_padded: bool = False  # sequences of unequal length are padded to the longest, whose steps all run
    step: str = ""  # what it changes, in figures of a gap; with it the implementation is a rung of the ladder
    recovers: str = ""  # the start of a sentence, verb included: "... recovers 20 µs, 25% of the gap"
    removes: tuple[str, ...] = ()  # causes of a gap that it leaves out, so that its gain is their size
    removes_all: bool = False  # it runs no plain operators, so its gain is the size of all their causes
    has_own_library: bool = False  # some of its products are made in another library than those of its eager rungs


IMPLEMENTATIONS = (
    ImplementationRow(name="loop", step="one step after another", recovers="looping recovers"),
    ImplementationRow(
        name="sequence",
        is_whole=True,
        step="run as one module",
        recovers="running the whole sequence in one module recovers",
    ),
    ImplementationRow(
        name="hoisted",
        step="input matmul hoisted",
        recovers="hoisting the input matmul recovers",
        removes=("not hoisted",),
    ),
    ImplementationRow(
        name="transposed",
        step="weights stored as read",
        recovers="storing the weights in the order of reading recovers",
    ),
    ImplementationRow(
        name="compiled",
        backend="inductor",
        is_compiled=True,
        step="compiled",
        recovers="compiling recovers",
        removes_all=True,
    ),
    ImplementationRow(
        name="prepacked",
        backend="inductor",
        is_compiled=True,
        step="matmuls in the fastest library",
        recovers="computing each matmul in the fastest library recovers",
        removes_all=True,
        has_own_library=True,
    ),
    ImplementationRow(
        name="scan",
        step="all steps at once",
        recovers="scanning all steps at once recovers",
        removes_all=True,
    ),
    ImplementationRow(
        name="cudagraph",
        backend="cuda graph",
        is_recorded=True,
        step="recorded and replayed",
        recovers="replaying a recorded graph recovers",
        removes_all=True,
    ),
    ImplementationRow(
        name="reduce-overhead",
        backend="inductor",
        is_compiled=True,
        mode="reduce-overhead",
        step="compiled and recorded",
        recovers="compiling and recording recovers",
        removes_all=True,
    ),
    ImplementationRow(name="torch.nn-cell", label="", torch_class="{}Cell"),
    ImplementationRow(name="torch.nn-padded", label="padded", torch_class="{}", is_whole=True, is_padded=True),
    ImplementationRow(name="torch.nn-flattened", label="flattened", torch_class="{}", is_whole=True),
    ImplementationRow(
        name="torch.nn-cudagraph",
        label="in a graph",
        torch_class="{}",
        is_whole=True,
        backend="cuda graph",
        is_recorded=True,
    ),
    ImplementationRow(name="torch.nn", label="", torch_class="{}", is_whole=True, is_reference=True),
    ImplementationRow(name="per_item", is_reference=True),
    ImplementationRow(name="vectorised"),
    ImplementationRow(name="reference", label="", is_reference=True),
)
ROW_OF: dict[str, ImplementationRow] = {row.name: row for row in IMPLEMENTATIONS}
LADDER = tuple(row.name for row in IMPLEMENTATIONS if row.step)  # whose rungs a gap is taken apart by
REFERENCES = tuple(row.name for row in IMPLEMENTATIONS if row.is_reference)  # a group is compared with one of these
REMOVING_ALL = tuple(row.name for row in IMPLEMENTATIONS if row.removes_all)
COMPILED = tuple(row.name for row in IMPLEMENTATIONS if row.is_compiled)
WITH_OWN_LIBRARY = tuple(row.name for row in IMPLEMENTATIONS if row.has_own_library)
GRAPH_BACKENDS = {row.name: row.backend for row in IMPLEMENTATIONS if row.backend}


def rung(implementation: str) -> int:
    """Return the place of an implementation on the ladder, from the plainest up."""
    names = [*ROW_OF]
    return names.index(implementation) if implementation in ROW_OF else len(names)


def label_of(implementation: str) -> str:
    """Return what stands behind a cell's name in the name of a series; empty where the cell's says all."""
    row = ROW_OF.get(implementation)
    return implementation if row is None or row.label is None else row.label
