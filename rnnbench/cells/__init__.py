"""The cells that are measured, and users' own: which there are, what their names mean, and how they are imported.

Importing this does not import torch; `load` does.
"""

from rnnbench.cells.registry import (
    CELLS,
    CellError,
    CellMissing,
    CellSpec,
    file_of,
    is_own,
    load,
    load_function,
    misnamed,
    parsed,
    spec,
    with_arguments,
)

__all__ = [
    "CELLS",
    "CellError",
    "CellMissing",
    "CellSpec",
    "file_of",
    "is_own",
    "load",
    "load_function",
    "misnamed",
    "parsed",
    "spec",
    "with_arguments",
]
