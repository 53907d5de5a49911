"""What a page keeps for its script, in few bytes: sets of rows, choices, and the rows of long tables."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from rnnbench.report.tables.table import Table

DIGITS = string.digits + string.ascii_lowercase  # of the places of values; a hyphen stands for none
MIN_RUN = 3  # rows at equal distances that are written as one range
MAX_OPEN_ROWS = 200  # a longer table is folded until the reader opens it
PAPER_ROWS = 60  # of a longer table the first 25 are printed, with a note
FIRST_ROWS = 100  # of a folded table that are elements of the page from the start


def ranges(rows: Sequence[int]) -> str:
    """Rows in rising order as text: `3`, `3-9` for all from 3 to 9, and `3-9:2` for 3, 5, 7, 9, with spaces between."""
    parts, start = [], 0
    while start < len(rows):
        end = start + 1
        step = rows[end] - rows[start] if end < len(rows) else 0
        while end < len(rows) and rows[end] - rows[end - 1] == step > 0:
            end += 1
        if end - start < MIN_RUN:
            end = start + 1
            parts.append(str(rows[start]))
        else:
            parts.append(f"{rows[start]}-{rows[end - 1]}" + (f":{step}" if step > 1 else ""))
        start = end
    return " ".join(parts)


def short_choices(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices of `selection.choices`, by axis and not by case: a digit for each case if an axis has few values."""
    columns = zip(*choices["cases"], strict=True)
    return {
        "axes": choices["axes"],
        "count": len(choices["cases"]),
        "cases": [
            _digits(column) if len(axis["values"]) <= len(DIGITS) else column
            for axis, column in zip(choices["axes"], columns, strict=True)
        ],
        "beside": {row: ranges(cases) for row, cases in choices["beside"].items()},
    }


def _digits(places: Sequence[int]) -> str:
    return "".join("-" if place < 0 else DIGITS[place] for place in places)


def static_rows(table: Table) -> int:
    """How many rows of a table are elements of the page; the page's script adds the others when they are needed."""
    return len(table.rows) if len(table.rows) <= MAX_OPEN_ROWS else FIRST_ROWS


def value_behind(table: Table, row: int, column: int) -> str:
    """The number behind a cell, to sort by and to copy; empty if there is none, or if it is the cell's text."""
    value = table.values[row][column] if table.values else ""
    return "" if value == table.rows[row][column] else value


def later_rows(table: Table, about: Sequence[str]) -> dict[str, Any] | None:
    """The rows of a long table that are not elements of the page, for JSON; None if all are.

    `about`: the cases of each row, from `ranges`.
    """
    first = static_rows(table)
    if first == len(table.rows):
        return None
    later = range(first, len(table.rows))
    return {
        "rows": table.rows[first:],
        "values": [[value_behind(table, row, column) for column in range(len(table.headers))] for row in later],
        "about": about[first:],
        "breaks": [int(row) - first for row in sorted(table.breaks) if row >= first],
    }
