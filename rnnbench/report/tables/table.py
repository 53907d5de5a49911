"""A table of a report, independent of the format it is written in."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.store.records import AXES

IDENTITY = ("run", "case", *AXES, "status", "reason")  # columns that tell which cases a row is about
MAX_ROWS = 2_000  # for readers; a longer table is cut, and its CSV file has all rows


@dataclass(frozen=True)
class Table:
    """The same content twice: as text for readers, and as a frame with full precision for programs.

    Readers get the first `MAX_ROWS` rows, and the note says so if there are more.
    """

    name: str  # of its files, without the extension
    title: str
    note: str  # what a reader must know to understand it; may be empty
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]  # columns to be aligned on the right
    rows: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    breaks: frozenset[int] = frozenset()  # rows above which a new group starts
    keys: tuple[tuple[str, ...], ...] = ()  # for each column, the values of a row that its text is made of
    values: tuple[tuple[str, ...], ...] = ()  # parallel to rows: the numbers behind each text; empty where it has none
    about: pd.DataFrame = field(default_factory=pd.DataFrame)  # parallel to rows: those of IDENTITY that the frame has
    total: int = 0  # rows for readers, if none were cut


@dataclass(frozen=True)
class Column:
    """A column for readers: its header, and a function that makes its text from a row of the frame."""

    header: str
    text: Callable[[dict[str, Any]], str]
    numeric: bool = False


@dataclass(frozen=True)
class Of:
    """Text made of some values of a row and nothing else. Pages can sort by these values and copy them."""

    keys: tuple[str, ...]
    show: Callable[..., str]

    def __call__(self, row: dict[str, Any]) -> str:
        """The text for a row."""
        return self.show(*(row[key] for key in self.keys))


def of(key: str, show: Callable[[Any], str] = str) -> Of:
    """Text made of a single value of a row."""
    return Of((key,), show)


def where_new(column: "pd.Series[Any]") -> np.ndarray:
    """The rows whose value is not that of the row above, the first row included: where a table has a break."""
    return np.flatnonzero(column.ne(column.shift()))


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
    """Build a table. For readers, `columns` make text from each row of `frame`; programs get `machine`."""
    shown = frame.head(MAX_ROWS)
    # By column and as plain objects: to take strings from pandas one by one costs ten times as much.
    values = zip(*(np.asarray(shown[name], dtype=object).tolist() for name in shown.columns), strict=True)
    rows = [dict(zip(frame.columns, row, strict=True)) for row in values]
    keys = tuple(column.text.keys if column.numeric and isinstance(column.text, Of) else () for column in columns)
    cut = f"Here are the first {MAX_ROWS:,} of {len(frame):,} rows; tables/{name}.csv has all."
    return Table(
        name,
        title,
        f"{note} {cut}".strip() if len(frame) > MAX_ROWS else note,
        headers=tuple(column.header for column in columns),
        numeric=tuple(column.numeric for column in columns),
        rows=tuple(tuple(column.text(row) for column in columns) for row in rows),
        frame=machine,
        breaks=frozenset(breaks),
        keys=keys,
        values=tuple(tuple(" ".join(_number(row[key]) for key in column_keys) for column_keys in keys) for row in rows),
        about=shown[[column for column in IDENTITY if column in frame]].reset_index(drop=True),
        total=len(frame),
    )


def _number(value: Any) -> str:
    """A number with seven digits, for programs; empty if the value is missing or not a number."""
    is_number = isinstance(value, int | float | np.number) and math.isfinite(value)
    return f"{value:.7g}" if is_number else ""
