"""The cells that are measured. To add one: a file beside this one, and a line in `CELLS`.

Reading this table does not import torch; `load` does.
"""

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.store.records import TORCH_OWN, Reference

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class CellSpec:
    """Where a cell's class is, which torch.nn layer it is timed against, and what may be expected of it."""

    target: str  # package.module:ClassName, or path/to/file.py:ClassName
    reference: Reference
    about: str
    stacked: bool = False  # takes num_layers, and a tuple with a state for each layer
    unequal: str = ""  # why its outputs can't be held against the reference's; empty where they are


CELLS: dict[str, CellSpec] = {
    "vanilla": CellSpec("rnnbench.cells.vanilla:VanillaCell", "rnn", "Elman cell, input and state weighted apart"),
    "combined": CellSpec("rnnbench.cells.combined:CombinedCell", "rnn", "Elman cell, one weight over [input; state]"),
    "deep": CellSpec("rnnbench.cells.deep:DeepCell", "rnn", "combined cells, stacked", stacked=True),
    "deep-notebook": CellSpec(
        "rnnbench.cells.deep_notebook:DeepNotebookCell",
        "rnn",
        "the tutorial's stack, which feeds a layer the state of the layer below",
        stacked=True,
        unequal="not compared: layer l reads layer l-1's state, so it is another function than torch.nn.RNN",
    ),
    "lstm": CellSpec("rnnbench.cells.lstm:LSTMCell", "lstm", "long short-term memory"),
    "gru": CellSpec("rnnbench.cells.gru:GRUCell", "gru", "gated recurrent unit"),
}


def is_own(cell: str) -> bool:
    """Whether a name points at a user's class (`file.py:Class`, `package.module:Class`) and not into `CELLS`."""
    return ":" in cell


def spec(cell: str, reference: Reference) -> CellSpec:
    """The spec of a registered cell, of torch's own, or of the user's, timed against `reference` without parity."""
    if cell == TORCH_OWN["torch.nn-cell"][reference]:
        return CellSpec(cell.replace(".nn.", ".nn:"), reference, "torch's own cell")
    if is_own(cell):
        return CellSpec(cell, reference, "the user's own", unequal="not compared: no weight mapping is given")
    return CELLS[cell]


def load(target: str, root: Path) -> type["nn.Module"]:
    """Import the class that `target` names; a file's path is relative to `root`, the folder of the suite.

    Raises ImportError where the module, or AttributeError where the class is not there.
    """
    where, _, class_name = target.rpartition(":")
    if where.endswith(".py"):
        path = (root / where).resolve()
        module_spec = importlib.util.spec_from_file_location(f"rnnbench_user_{path.stem}", path)
        if module_spec is None or module_spec.loader is None or not path.is_file():
            raise ImportError(f"no Python file {path}")
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[module_spec.name] = module
        module_spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    try:
        found: type[nn.Module] = getattr(module, class_name)
    except AttributeError:
        raise AttributeError(f"{where} has no class {class_name}") from None
    return found
