"""Table: every case with its time, its ratio to its reference, their intervals, and parity."""

from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Column, Of, Table, of, table, where_new
from rnnbench.report.words.axes import SETTINGS, SIZES, constants, one_line, several, word
from rnnbench.report.words.precision import missed, suspect, undecided, waits
from rnnbench.report.words.reference import ALONE, words
from rnnbench.report.words.series import by_workload
from rnnbench.report.words.units import duration, duration_interval, ratio, ratio_interval
from rnnbench.store import metrics
from rnnbench.store.run_info import RunInfo

UNITS = {
    "seconds": "seconds_per_call",
    "seconds_low": "seconds_per_call_low",
    "seconds_high": "seconds_per_call_high",
    "mean_seconds": "mean_seconds_per_call",
    "ratio": "ratio_to_{}",
    "ratio_low": "ratio_to_{}_low",
    "ratio_high": "ratio_to_{}_high",
    "parity_error": "parity_relative_error",
}


def render(summary: pd.DataFrame, info: RunInfo) -> Table:
    """One row per case, by workload, with the reference first."""
    workload = ["phase", *several(summary, (*SETTINGS, *SIZES))]
    frame = by_workload(summary)
    columns = [
        Column("cell", of("series")),
        *(Column(word(axis), of(axis, one_line), numeric=axis in SIZES) for axis in workload),
        Column("time", of("seconds", duration), numeric=True),
        Column("95% interval", Of(("seconds_low", "seconds_high"), duration_interval), numeric=True),
        Column("ratio", of("ratio", ratio), numeric=True),
        Column("95% interval", Of(("ratio_low", "ratio_high"), case_interval), numeric=True),
        Column(
            "parity, or why not measured",
            lambda row: "; ".join(
                filter(None, [_parity(row), suspect(row), undecided(row), missed(row, info), waits(row)])
            ),
        ),
    ]
    still, reference = constants(summary) if len(summary) else "", words(summary)
    return table(
        "ratios",
        f"Time per call{f' and ratio to {reference.name}' if reference.has_ratios else ''}, case by case",
        " ".join(filter(None, [f"Everywhere: {still}." if still else "", "" if reference.has_ratios else ALONE])),
        columns,
        frame,
        machine=_machine(summary),
        breaks=where_new(frame["group"]),
    )


def _machine(summary: pd.DataFrame) -> pd.DataFrame:
    """The columns of the summary about a case and its time. Its other costs are in the table of costs."""
    elsewhere = {"ceiling", "missing", "backend", "bound_by", *(metric.name for metric in metrics.METRICS)}
    units = {column: name.format(words(summary).key) for column, name in UNITS.items()}
    return summary.drop(columns=elsewhere & set(summary.columns)).rename(columns=units)


def case_interval(low: float, high: float) -> str:
    """The interval of a case's ratio; empty for the case to which the ratios are."""
    return "" if low == high == 1 else ratio_interval(low, high)


def _parity(row: dict[str, Any]) -> str:
    return one_line(row["parity"] if row["status"] == "measured" else f"{row['status']}: {row['reason']}")
