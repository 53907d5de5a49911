"""The cells that are measured. To add one, write a file beside this one and a line in `CELLS`.

Reading this table does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnbench.cells.names import is_own, parsed
from rnnbench.store.records import TORCH_OWN, Reference


@dataclass(frozen=True)
class CellSpec:
    """Where a cell's class is, which torch.nn layer it is timed against, and what may be expected of it."""

    target: str  # package.module:ClassName, or path/to/file.py:ClassName
    reference: Reference
    about: str
    stacked: bool = False  # takes num_layers, and a tuple with a state for each layer
    unequal: str = ""  # why its outputs can't be compared with the reference's; empty if they can
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of its constructor, beside the sizes


def _other(target: str, nearest: Reference, about: str) -> CellSpec:
    """A cell that is timed against the layer of torch.nn that is nearest to it, and computes something else."""
    layer = TORCH_OWN["torch.nn"][nearest]
    return CellSpec(
        f"rnnbench.cells.modern.{target}", nearest, about, unequal=f"not compared: another recurrence than {layer}"
    )


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
    "min_gru": _other("min_gru:MinGRUCell", "gru", "minimal GRU: gates see only the input, so it can be scanned"),
    "min_lstm": _other("min_lstm:MinLSTMCell", "lstm", "minimal LSTM: gates see only the input; it can be scanned"),
    "s_lstm": _other("s_lstm:SLSTMCell", "lstm", "sLSTM of xLSTM: exponential gates, normalised"),
    "lstm_layer_norm": _other("lstm_layer_norm:LSTMLayerNormCell", "lstm", "LSTM with layer normalisation"),
    "lstm_peephole": _other("lstm_peephole:LSTMPeepholeCell", "lstm", "LSTM whose gates see the cell's state"),
    "ind_rnn": _other("ind_rnn:IndRNNCell", "rnn", "IndRNN: each unit sees only its own state"),
    "ugrnn": _other("ugrnn:UGRNNCell", "gru", "update gate network: a GRU with one gate"),
    "lmu": _other("lmu:LMUCell", "lstm", "Legendre memory unit"),
    "diagonal": _other("diagonal:DiagonalCell", "rnn", "diagonal linear recurrence, as LRU and S4D; it can be scanned"),
}


def spec(cell: str, reference: Reference) -> CellSpec:
    """The spec of a registered cell, of torch's own cell, or of a user's class, timed against `reference`."""
    if cell == TORCH_OWN["torch.nn-cell"].get(reference):
        return CellSpec(cell.replace(".nn.", ".nn:"), reference, "torch's own cell")
    if is_own(cell):
        target, arguments = parsed(cell)
        return CellSpec(target, reference, "the user's own", arguments=arguments)
    return CELLS[cell]
