"""A table as CSV, for programs and spreadsheets."""

from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Table

# The last four are full-width signs, which spreadsheets of East Asian languages take for the same.
STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def render(table: Table) -> str:
    """Full precision, empty where a value is missing; text that a spreadsheet would run as a formula is quoted."""
    return of_frame(table.frame)


def of_frame(frame: pd.DataFrame) -> str:
    """The same of any frame."""
    frame = frame.copy()
    for column in frame.columns:
        if frame[column].dtype.kind not in "biufc":
            frame[column] = frame[column].map(_cell).astype(object)
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def guarded(value: Any) -> Any:
    """Text with a leading apostrophe where a spreadsheet would take it for a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(STARTS_FORMULA) else value


def _cell(value: Any) -> Any:
    """The same, without carriage returns, which are not quoted and at which readers would end the row."""
    safe = guarded(value)
    return safe.replace("\r\n", "\n").replace("\r", "\n") if isinstance(safe, str) else safe
