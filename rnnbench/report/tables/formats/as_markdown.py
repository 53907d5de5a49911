"""A table as GitHub-flavoured Markdown."""

import re
from collections.abc import Iterable

from rnnbench.report.tables.table import Table
from rnnbench.report.words.axes import one_line

SPECIAL = re.compile(r"([\\`*\[\]|~#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z]))")  # a _ inside a word is plain text


def render(table: Table) -> str:
    """Heading, note and table; columns of numbers are aligned on the right."""
    rule = ("---:" if numeric else ":---" for numeric in table.numeric)
    rows = [row(map(escape, table.headers)), row(rule), *(row(map(escape, cells)) for cells in table.rows)]
    note = [escape(table.note), ""] if table.note else []
    body = rows if table.rows else ["None."]
    return "\n".join([f"## {escape(table.title)}", "", *note, *body]) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line and in one cell."""
    plain = SPECIAL.sub(r"\\\1", one_line(text))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
