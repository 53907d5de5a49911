"""What every table of a report is, whatever the format it is written in."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.store.records import AXES

IDENTITY = ("run", "case", *AXES, "status", "reason")  # what tells which cases a row is about
MAX_ROWS = 2_000  # for readers; a longer table is cut, and its CSV has all


@dataclass(frozen=True)
class Table:
    """The same content twice: as text for readers, and as a frame with full precision for programs.

    Readers get the first `MAX_ROWS` rows, and the note says so where there are more.
    """

    name: str  # of its files
    title: str
    note: str  # what a reader must know to read it right; may be empty
    headers: tuple[str, ...]
    numeric: tuple[bool, ...]  # columns to be aligned on the right
    rows: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    breaks: frozenset[int] = frozenset()  # rows above which a new group starts
    keys: tuple[tuple[str, ...], ...] = ()  # of each column, the values of the frame that its text is made of
    values: tuple[tuple[str, ...], ...] = ()  # parallel to rows: the numbers behind each text; empty where it has none
    about: pd.DataFrame = field(default_factory=pd.DataFrame)  # parallel to rows: those of IDENTITY that hold for each
    total: int = 0  # rows for readers, if none were cut


@dataclass(frozen=True)
class Column:
    """A column for readers: its header, and how its text is made from a row of the frame."""

    header: str
    text: Callable[[dict[str, Any]], str]
    numeric: bool = False


@dataclass(frozen=True)
class Of:
    """Text made of some values of a row and nothing else, so that pages can sort by these and copy them."""

    keys: tuple[str, ...]
    show: Callable[..., str]

    def __call__(self, row: dict[str, Any]) -> str:
        """The text of a row."""
        return self.show(*(row[key] for key in self.keys))


def of(key: str, show: Callable[[Any], str] = str) -> Of:
    """The text of a single value of the row."""
    return Of((key,), show)


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
    shown = frame.head(MAX_ROWS)
    # By column and as plain objects, since pandas gives strings one by one at ten times the cost.
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
        values=tuple(tuple(" ".join(_number(row[key]) for key in one) for one in keys) for row in rows),
        about=shown[[column for column in IDENTITY if column in frame]].reset_index(drop=True),
        total=len(frame),
    )


def _number(value: Any) -> str:
    """Seven digits, as programs read it; empty where it is missing, or no number."""
    is_number = isinstance(value, int | float | np.number) and math.isfinite(value)
    return f"{value:.7g}" if is_number else ""
