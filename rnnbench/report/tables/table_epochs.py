"""Table: an epoch of training beside its parts: steps on a batch in memory, and loading alone."""

import numpy as np
import pandas as pd

from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, several, word
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import duration, ratio
from rnnbench.store.records import OF_DATA, WORKLOAD_AXES

TRAINED = ["run", "cell", "implementation", *(axis for axis in WORKLOAD_AXES if axis not in ("phase", *OF_DATA))]
LOADED = ["run", "batch_size", "seq_len", "input_size", "output_size", "dtype", "device", "threads", *OF_DATA]


def render(summary: pd.DataFrame) -> Table | None:
    """One row for each case of the phase `epoch`, or None if there is none."""
    frame = with_series(summary)
    epochs = frame[frame["phase"] == "epoch"]
    if epochs.empty:
        return None
    steps = frame[frame["phase"] == "step"].rename(columns={"seconds": "step_seconds"})
    is_loaded = (frame["phase"] == "loading") & (frame["cell"] == "windows") & (frame["implementation"] == "per_item")
    loading = frame.loc[is_loaded, [*LOADED, "seconds"]].rename(columns={"seconds": "loading_seconds"})
    loading = loading.groupby(LOADED, as_index=False).median()  # a size of the model changes nothing in it
    rows = epochs.merge(steps[[*TRAINED, "step_seconds"]], on=TRAINED, how="left").merge(
        loading[[*LOADED, "loading_seconds"]], on=LOADED, how="left"
    )
    rows["steps_seconds"] = rows["step_seconds"] * np.ceil(rows["samples"] / rows["batch_size"])
    rows["over_parts"] = rows["seconds"] / (rows["steps_seconds"] + rows["loading_seconds"])
    axes = several(epochs, (*SETTINGS, *SIZES))
    columns = [
        Column("cell", of("series")),
        *(Column(word(axis), of(axis, one_line), numeric=axis in SIZES) for axis in axes),
        Column("epoch", of("seconds", duration), numeric=True),
        Column("its steps", of("steps_seconds", duration), numeric=True),
        Column("loading alone", of("loading_seconds", duration), numeric=True),
        Column("epoch over both", of("over_parts", ratio), numeric=True),
    ]
    return table(
        "epochs",
        "An epoch beside its parts",
        "Its steps: one for each batch, with the time of a step on a batch in memory. Loading alone: the same "
        "data, item by item. Below 1×, other processes load while this one computes. Above 1×, the two slow each "
        "other down, by cold caches and by the cost of a batch from another process.",
        columns,
        rows,
        machine=rows[["case", *TRAINED, *OF_DATA, "seconds", "steps_seconds", "loading_seconds", "over_parts"]],
    )
