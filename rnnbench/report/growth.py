"""How the ratio grows with each size, and what is predicted at sizes that were asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rnnbench.analysis.predict import REACH, predict
from rnnbench.analysis.size_fit import MOVING, SERIES
from rnnbench.report.page.section import Section
from rnnbench.report.table import Column, Table, of, table, where_new
from rnnbench.report.words.names import CONTEXT, SIZES, one_line, several, swept, with_series, word
from rnnbench.report.words.units import MISSING, duration, duration_interval, ratio, ratio_interval, whole_percent

if TYPE_CHECKING:
    from rnnbench.report.drawing.sheet import Picture

MIN_SIZES = 3  # two points show no growth
Asked = Mapping[str, Sequence[Any]]  # axis -> values


def section(summary: pd.DataFrame, asked: Asked | None, pictures: "Mapping[str, Picture]") -> Section | None:
    """Return the section on growth; None if no size has three values and nothing is predicted.

    Raises UserError as `rnnbench.predict` does.
    """
    measured = summary[summary["status"] == "measured"]
    grows = any(measured.groupby("cell")[axis].nunique().max() >= MIN_SIZES for axis in swept(measured, SIZES))
    drawn = [pictures["scaling"]] if grows and "scaling" in pictures else []
    predicted = [table_of_predictions(summary, asked)] if asked else []
    return Section("growth", "Growth", [*drawn, *predicted]) if drawn or predicted else None


def table_of_predictions(summary: pd.DataFrame, asked: Asked) -> Table:
    """Return a table with one row for each fitted series and size."""
    predicted = predict(summary, asked)
    names = with_series(summary).drop_duplicates(SERIES)[[*SERIES, "series"]]
    rows = predicted.merge(names, on=SERIES, how="left")
    sizes = [axis for axis in MOVING if axis in asked or rows[axis].nunique() > 1]
    columns = [
        Column("cell", of("series", one_line)),
        Column("predicted ratio", of("ratio", ratio), numeric=True),
        Column("95% interval", of(("ratio_low", "ratio_high"), ratio_interval), numeric=True),
        Column("phase", of("phase")),
        *(Column(word(axis), of(axis, one_line)) for axis in several(summary, CONTEXT)),
        *(Column(word(axis), of(axis, str), numeric=True) for axis in sizes),
        Column("predicted time", of("seconds", duration), numeric=True),
        Column("its 95% interval", of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        Column("mostly spent on", _spent_on),
        Column("notes", _notes),
    ]
    return table(
        "predicted",
        "Predicted, not measured",
        "From fits over the measured sizes, with intervals from sizes that were left out of the fits; for this machine "
        f"in the state in which it was measured. Nothing is predicted beyond {REACH:g} times the measured range.",
        columns,
        rows,
        machine=predicted,
        breaks=where_new(rows["cell"]),
    )


def _spent_on(row: dict[str, Any]) -> str:
    return f"{row['spent_on']} {whole_percent(row[row['spent_on']])}" if row["spent_on"] else MISSING


def _notes(row: dict[str, Any]) -> str:
    measured = f"measured here: {duration(row['measured_seconds'])}" if row["measured_seconds"] > 0 else ""
    return "; ".join(filter(None, [row["status"] if row["status"] != "predicted" else "", row["reason"], measured]))
