"""Table: parameters, arithmetic and memory of each model, as torchinfo counts them."""

import pandas as pd

from rnnbench.report.axes import SIZES, one_line, word
from rnnbench.report.table import Column, Table, of, table
from rnnbench.report.units import count, millions

BYTES = ["input_bytes", "forward_backward_bytes", "parameter_bytes"]
KEYS = ["cell", "batch_size", *(axis for axis in SIZES if axis not in ("batch_size", "seq_len"))]
NOTE = (
    "The model is the cell with its output head; all but the parameters are for one step of a whole batch. "
    "MB are millions of bytes; total is the sum of the three before it. torchinfo's multiply-adds hold "
    "for cells made of nn.Linear (combined, deep); for cells with parameters of their own (vanilla, lstm, gru) and for "
    "the fused layers of torch.nn they do not: read them as torchinfo's figures, not as the arithmetic done."
)


def render(summary: pd.DataFrame) -> Table:
    """One row for each cell and the sizes that its counts depend on."""
    known = ["parameters", "mult_adds", *BYTES]
    frame = (
        summary[[*KEYS, *known]]
        .astype(dict.fromkeys(known, float))  # a missing count is None where a whole column is
        .dropna(subset=known, how="all")
        .drop_duplicates()
        .sort_values([axis for axis in KEYS if axis != "cell"], kind="stable")
    )
    order = pd.Series({cell: place for place, cell in enumerate(frame["cell"].unique())}, dtype=int)
    frame = frame.sort_values("cell", key=lambda cells: cells.map(order), kind="stable")
    frame["total_bytes"] = frame[BYTES].sum(axis=1, skipna=False)
    columns = [
        Column("cell", of("cell", one_line)),
        *(Column(word(axis), of(axis, count), numeric=True) for axis in KEYS[1:]),
        Column("parameters", of("parameters", count), numeric=True),
        Column("mult-adds (M)", of("mult_adds", millions), numeric=True),
        Column("input (MB)", of("input_bytes", millions), numeric=True),
        Column("forward/backward (MB)", of("forward_backward_bytes", millions), numeric=True),
        Column("params (MB)", of("parameter_bytes", millions), numeric=True),
        Column("total (MB)", of("total_bytes", millions), numeric=True),
    ]
    machine = frame.rename(columns={"parameters": "parameter_count", "mult_adds": "mult_adds_count"})
    return table("parameters", "Parameters, arithmetic and memory", NOTE, columns, frame, machine=machine)
