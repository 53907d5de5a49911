"""CSV: a row for each case, measured or not, or with `--windows` one for each window; units in the columns' names."""

import json
from typing import Any

import pandas as pd

from rnnbench.report.export import columns
from rnnbench.report.export.cases import plain
from rnnbench.report.tables.formats import as_csv
from rnnbench.store.run_info import RunInfo


def render(frame: pd.DataFrame, summary: pd.DataFrame, info: RunInfo, *, windows: bool = False) -> str:
    """Full precision, empty where a value is missing; lists and dictionaries as JSON, texts safe for spreadsheets."""
    rows = columns.of_windows(frame) if windows else columns.of_cases(summary)
    for column in set(columns.NESTED) & set(rows.columns):
        rows[column] = rows[column].map(_text)
    return as_csv.of_frame(rows)


def _text(value: Any) -> str:
    """A nested value as JSON; empty where there is none."""
    if isinstance(value, dict):
        value = {key: plain(inner) for key, inner in value.items()}
    return json.dumps(value, allow_nan=False) if isinstance(value, dict | list) else ""
