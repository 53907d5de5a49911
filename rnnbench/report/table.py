"""What every table of a report is, whatever the format it is written in."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

MOST_ROWS = 2_000  # for readers; a longer table is cut, and its CSV has all


@dataclass(frozen=True)
class Table:
    """The same content twice: as text for readers, and as a frame with full precision for programs.

    Readers get the first `MOST_ROWS` rows, and the note says so where there are more.
    """

    name: str  # of its files
    title: str
    note: str  # what a reader must know to read it right; may be empty
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]  # columns to be aligned on the right
    rows: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    breaks: frozenset[int] = frozenset()  # rows above which a new group starts
    total: int = 0  # rows for readers, if none were cut


@dataclass(frozen=True)
class Column:
    """A column for readers: its header, and how its text is made from a row of the frame."""

    header: str
    text: Callable[[dict[str, Any]], str]
    numeric: bool = False


def of(key: str, show: Callable[[Any], str] = str) -> Callable[[dict[str, Any]], str]:
    """The text of a single value of the row."""
    return lambda row: show(row[key])


def table(
    name: str,
    title: str,
    note: str,
    columns: Sequence[Column],
    frame: pd.DataFrame,
    *,
    machine: pd.DataFrame,
    breaks: Iterable[int] = (),
) -> Table:
    """A table from a frame of rows: what `columns` say of them for readers, `machine` for programs."""
    shown = frame.head(MOST_ROWS)
    # By column and as plain objects, since pandas gives strings one by one at ten times the cost.
    values = zip(*(np.asarray(shown[name], dtype=object).tolist() for name in shown.columns), strict=True)
    rows = (dict(zip(frame.columns, row, strict=True)) for row in values)
    cut = f"Here are the first {MOST_ROWS:,} of {len(frame):,} rows; tables/{name}.csv has all."
    return Table(
        name,
        title,
        f"{note} {cut}".strip() if len(frame) > MOST_ROWS else note,
        headers=tuple(column.header for column in columns),
        numeric=tuple(column.numeric for column in columns),
        rows=tuple(tuple(column.text(row) for column in columns) for row in rows),
        frame=machine,
        breaks=frozenset(breaks),
        total=len(frame),
    )
