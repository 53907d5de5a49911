"""Why a measured time is suspect, in words that stand beside it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rnnbench.report.words.axes import one_line


def suspect(row: Mapping[Any, Any]) -> str:
    """Why the time of a case in a summary may not be that of its reference's work; empty if nothing speaks for it."""
    if row["status"] != "measured" or not row.get("suspicion"):
        return ""
    return f"suspect: {one_line(row['suspicion'])}"


def is_suspect(summary: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of a summary are suspect."""
    return pd.Series([bool(suspect(row)) for row in summary.to_dict("records")], index=summary.index, dtype=bool)
