"""Table: predicted times and ratios at sizes that were asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rnnbench.analysis.scaling.fit import SERIES
from rnnbench.analysis.scaling.held_out import MOVING, REACH
from rnnbench.analysis.scaling.predict import predict
from rnnbench.report.tables.table import Column, Table, of, table, where_new
from rnnbench.report.words.axes import one_line, several, word
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import MISSING, duration, duration_interval, ratio, ratio_interval, whole_percent
from rnnbench.store.records import REFERENCES


def render(summary: pd.DataFrame, asked: Mapping[str, Sequence[Any]]) -> Table:
    """One row for each fitted series and size. Raises UserError as `rnnbench.predict` does."""
    predicted = predict(summary, asked)
    names = with_series(summary).drop_duplicates(SERIES)[[*SERIES, "series"]]
    rows = predicted.merge(names, on=SERIES, how="left")
    sizes = [axis for axis in MOVING if axis in asked or rows[axis].nunique() > 1]
    columns = [
        Column("cell", of("series", one_line)),
        Column("phase", of("phase")),
        *(Column(word(axis), of(axis, one_line)) for axis in several(summary, CONTEXT)),
        *(Column(word(axis), of(axis, str), numeric=True) for axis in sizes),
        Column("predicted time", of("seconds", duration), numeric=True),
        Column("95% interval", lambda row: duration_interval(row["seconds_low"], row["seconds_high"]), numeric=True),
        Column("predicted ratio", of("ratio", ratio), numeric=True),
        Column("95% interval", _ratio_interval, numeric=True),
        Column("mostly spent on", _spent_on),
        Column("note", _note),
    ]
    return table(
        "predicted",
        "Predicted, not measured",
        "From fits over the measured sizes, with intervals from sizes that were left out of the fits. They are for "
        "this machine in the state in which it was measured, not for another machine or another load. "
        f"Nothing is predicted beyond {REACH:g} times the measured range.",
        columns,
        rows,
        machine=predicted,
        breaks=where_new(rows["cell"]),
    )


def _ratio_interval(row: dict[str, Any]) -> str:
    return "" if row["implementation"] in REFERENCES else ratio_interval(row["ratio_low"], row["ratio_high"])


def _spent_on(row: dict[str, Any]) -> str:
    return f"{row['spent_on']} {whole_percent(row[row['spent_on']])}" if row["spent_on"] else MISSING


def _note(row: dict[str, Any]) -> str:
    measured = f"measured here: {duration(row['measured_seconds'])}" if row["measured_seconds"] > 0 else ""
    return "; ".join(filter(None, [row["status"] if row["status"] != "predicted" else "", row["reason"], measured]))
