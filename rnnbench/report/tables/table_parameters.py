"""Table: parameters, arithmetic and memory of each model, as torchinfo counts them and by formula."""

import pandas as pd

from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.words.axes import SIZES, one_line, word
from rnnbench.report.words.metrics import with_metrics
from rnnbench.report.words.units import count, digits, millions, round_percent
from rnnbench.store.records import OF_DATA

BYTES = ["input_bytes", "forward_backward_bytes", "parameter_bytes"]
KNOWN = ["parameters", "step_macs", "mult_adds", *BYTES]
KEYS = ["cell", "batch_size", *(axis for axis in SIZES if axis not in ("batch_size", "seq_len", *OF_DATA))]
AGREEMENT = 0.05  # torchinfo counts a bias as a multiply-add, and so small a difference needs no sentence
NOTE = (
    "The model is the cell with its output head. All numbers except the parameters are for one step of a whole "
    "batch. 1 MB is a million bytes; the total is the sum of the three columns before it."
)


def render(summary: pd.DataFrame) -> Table:
    """One row for each cell and the sizes that its counts depend on."""
    frame = (
        with_metrics(summary)[[*KEYS, *KNOWN]]
        .dropna(subset=KNOWN, how="all")
        .drop_duplicates()
        .sort_values([axis for axis in KEYS if axis != "cell"], kind="stable")
    )
    order = pd.Series({cell: index for index, cell in enumerate(frame["cell"].unique())}, dtype=int)
    frame = frame.sort_values("cell", key=lambda cells: cells.map(order), kind="stable")
    frame["total_bytes"] = frame[BYTES].sum(axis=1, skipna=False)
    by_formula = [Column("MACs (M)", of("step_macs", millions), numeric=True)]
    columns = [
        Column("cell", of("cell", one_line)),
        *(Column(word(axis), of(axis, count), numeric=True) for axis in KEYS[1:]),
        Column("parameters", of("parameters", count), numeric=True),
        *(by_formula if frame["step_macs"].notna().any() else []),
        Column("mult-adds (M)", of("mult_adds", millions), numeric=True),
        Column("input (MB)", of("input_bytes", millions), numeric=True),
        Column("forward/backward (MB)", of("forward_backward_bytes", millions), numeric=True),
        Column("params (MB)", of("parameter_bytes", millions), numeric=True),
        Column("total (MB)", of("total_bytes", millions), numeric=True),
    ]
    machine = frame.rename(columns={"parameters": "parameter_count", "mult_adds": "mult_adds_count"})
    note = f"{NOTE} {agreement(frame)}".rstrip()
    return table("parameters", "Parameters, arithmetic and memory", note, columns, frame, machine=machine)


def agreement(frame: pd.DataFrame) -> str:
    """Say for which cells torchinfo's multiply-adds differ from the MACs of the formula, and by how much.

    `frame` needs the columns `cell`, `step_macs` and `mult_adds`. The sentence is empty if they are not known.
    """
    compared = frame.dropna(subset=["step_macs", "mult_adds"])
    times = (compared["mult_adds"] / compared["step_macs"]).groupby(compared["cell"], sort=False)
    differ, agree = [], []
    for cell, (low, high) in times.agg(["min", "max"]).iterrows():
        if low >= 1 - AGREEMENT and high <= 1 + AGREEMENT:
            agree.append(one_line(cell))
        else:
            differ.append(f"{one_line(cell)} ({_off(low, high)})")
    within = f"agree within {round_percent(AGREEMENT)}"
    if not differ:
        all_agree = f"torchinfo's mult-adds and the MACs of the formula {within} for every cell."
        return all_agree if agree else ""
    sentence = f"torchinfo's mult-adds are not the MACs of the formula for {', '.join(differ)}"
    return f"{sentence}; they {within} for {', '.join(agree)}." if agree else f"{sentence}."


def _off(low: float, high: float) -> str:
    """`none counted`, `129 times as many` or `0.94 to 1.02 times as many`."""
    if high == 0:
        return "none counted"
    ends = list(dict.fromkeys((digits(low), digits(high))))
    return f"{' to '.join(ends)} times as many"
