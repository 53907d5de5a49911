"""The names and the content of exported columns, the same for CSV and Parquet."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rnnbench.report.tables.table_ratios import UNITS
from rnnbench.report.words.reference import words
from rnnbench.store.ceilings import PLACE, Ceiling
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.value_kinds import MAX_INTEGER

NESTED = ("missing", "ceiling", "quantiles_seconds_per_call", "cores")
WHOLE = ("warmup_windows", "replicate", "order", "turns", "calls", "batch")
OF_WINDOWS = {
    "started": "started_seconds",
    "quantiles": "quantiles_seconds_per_call",
    "parity_error": "parity_relative_error",
}


def of_cases(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of `rnnbench.summarize`; the names of the columns say the unit of times and ratios."""
    named = {column: name.format(words(summary).key) for column, name in UNITS.items()}
    return _plain(summary).rename(columns=named)


def of_windows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of `rnnbench.load`: a row for each window, and one for each case that has none."""
    return _plain(frame).rename(columns=OF_WINDOWS)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Counts as whole numbers, nested values as lists and dictionaries, None for missing ones."""
    rows = frame.copy()
    counts = [metric.name for metric in OBSERVED if metric.unit in ("count", "bytes")]
    for column in (*WHOLE, *counts):
        if column in rows and _are_whole(rows[column].dropna().astype(float)):
            rows[column] = rows[column].astype("Int64")
    if "clock_mhz" in rows:
        rows["clock_mhz"] = pd.to_numeric(rows["clock_mhz"])  # all None if the system does not report it
    for column in ("missing", "ceiling", "quantiles", "cores"):
        if column in rows:
            rows[column] = pd.Series([_nested(value) for value in rows[column]], index=rows.index, dtype=object)
    return rows


def _are_whole(values: "pd.Series[float]") -> bool:
    """Whether a column of whole numbers can hold all values."""
    return bool(((values % 1 == 0) & (values.abs() < MAX_INTEGER)).all())


def _nested(value: Any) -> Any:
    if isinstance(value, Ceiling):
        place = {name: getattr(value, name) for name in PLACE}
        sized = {name: [[size, rate.value] for size, rate in getattr(value, name)] for name in ("copies", "reads")}
        steps = {"dispatch_seconds": value.dispatch_seconds, "launch_seconds": value.launch_seconds}
        return {**place, "macs_per_second": value.macs_per_second, **sized, **steps}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple | list) else None
