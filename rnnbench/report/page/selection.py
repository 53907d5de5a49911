"""Which cases each part of a page is about, and the axes by which a reader can choose among them."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Table
from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, say_all, several, word
from rnnbench.report.words.reference import is_reference
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import duration, ratio, ratio_interval
from rnnbench.store.records import WORKLOAD_AXES, axis_text

CHOSEN_BY = ("cell", "implementation", "phase", *SIZES, *SETTINGS, "run")


def choices(summary: pd.DataFrame) -> dict[str, Any]:
    """What a page's script needs to filter, for JSON: the axes that vary, their values, and the values of each case.

    - `axes`: `{"name": "batch_size", "word": "batch", "values": ["1", "32"]}`;
    - `cases`: for each row of the summary, the index of its value on each axis; -1 for the cell of a reference;
    - `beside`: for each reference, the cases of its group, since it is shown as long as one of them is.
    """
    axes = several(summary, CHOSEN_BY)
    own = ~is_reference(summary)
    indices, described = [], []
    for axis in axes:
        column = summary.loc[own, axis] if axis == "cell" else summary[axis]
        values = column.drop_duplicates().to_list()
        values = sorted(values) if axis in SIZES else values
        described.append({"name": axis, "word": word(axis), "values": [one_line(axis_text(value)) for value in values]})
        index_of = {value: index for index, value in enumerate(values)}
        indices.append([index_of.get(value, -1) for value in summary[axis]])
    groups = summary.groupby(["run", *WORKLOAD_AXES], sort=False).ngroup()
    members = {group: rows.index.to_list() for group, rows in groups[own].groupby(groups[own])}
    return {
        "axes": described,
        "cases": list(zip(*indices, strict=True)) if indices else [()] * len(summary),
        "beside": {int(row): members.get(groups[row], []) for row in summary.index[~own]},
    }


def rows_of(table: Table, summary: pd.DataFrame) -> list[list[int]]:
    """For each row of a table, the rows of the summary that it is about; empty if it is about no case."""
    keys = ["run", "case"] if {"run", "case"} <= set(table.about) else [str(column) for column in table.about]
    if not keys:
        return [[] for _ in table.rows]
    rows: dict[tuple[Any, ...], list[int]] = {}
    for row, values in zip(summary.index, _tuples(summary, keys), strict=True):
        rows.setdefault(values, []).append(int(row))
    return [rows.get(values, []) for values in _tuples(table.about, keys)]


def is_pooled(table: Table) -> bool:
    """Whether each row is about several cases, which a filter can't separate."""
    return bool(len(table.about.columns)) and "case" not in table.about


def titles(summary: pd.DataFrame) -> dict[int, str]:
    """One line for each row of the summary: the case and its time."""
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    frame = with_series(summary)
    shown = frame[["series", *axes, "ratio", "ratio_low", "ratio_high", "seconds"]]
    cases: Iterable[dict[Any, Any]] = shown.to_dict("records")
    return {int(row): _title(case, axes) for row, case in zip(frame.index, cases, strict=True)}


def _title(case: dict[Any, Any], axes: Sequence[str]) -> str:
    interval = ratio_interval(case["ratio_low"], case["ratio_high"])
    measured = [f"{ratio(case['ratio'])} ({interval})"] if case["ratio_low"] < case["ratio_high"] else []
    return "; ".join([f"{case['series']}, {say_all(axes, (case[axis] for axis in axes))}", *measured,
                      duration(case["seconds"])])  # fmt: skip


def _tuples(frame: pd.DataFrame, columns: list[str]) -> Iterable[tuple[Any, ...]]:
    return frame[columns].itertuples(index=False, name=None)
