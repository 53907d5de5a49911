"""A table as CSV, for programs and spreadsheets."""

from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Table

# The last four are full-width signs, which spreadsheets in East Asian languages treat as the plain ones.
STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def render(table: Table) -> str:
    """Full precision, empty if a value is missing. Text that a spreadsheet would run as a formula is quoted."""
    return of_frame(table.frame)


def of_frame(frame: pd.DataFrame) -> str:
    """Any frame as CSV, in the form that `render` gives a table."""
    frame = frame.copy()
    for column in frame.columns:
        if frame[column].dtype.kind not in "biufc":
            places, values = pd.factorize(frame[column].astype(object), use_na_sentinel=False)
            frame[column] = pd.Series([_cell(value) for value in values], dtype=object).to_numpy()[places]
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def guarded(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would take for a formula; other values stay as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(STARTS_FORMULA) else value


def _cell(value: Any) -> Any:
    """A guarded value without carriage returns: pandas does not quote them, and readers would end the row there."""
    safe = guarded(value)
    return safe.replace("\r\n", "\n").replace("\r", "\n") if isinstance(safe, str) else safe
