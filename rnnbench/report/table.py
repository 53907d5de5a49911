"""What a section of a report consists of: paragraphs, figures, and tables.

A table is rows of text for readers and a frame for programs, and is written as CSV, Markdown and LaTeX.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

import numpy as np
import pandas as pd

from rnnbench.report.latex import tables
from rnnbench.report.words.names import one_line
from rnnbench.store.frames import with_sentences
from rnnbench.text import encoded

if TYPE_CHECKING:  # matplotlib, which a terminal does not need
    from rnnbench.report.drawing.pictures import Picture

MAX_TABLE_ROWS = 2_000  # for readers; a longer table is cut, and its CSV file has all rows
FILE_FORMATS = ("csv", "md", "tex")
FORMULA = re.compile(r"\A([=+\-@\t\n])")  # a spreadsheet would run text that starts so
MARKUP = re.compile(r"([\\`*\[\]|~#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z]))")  # a _ inside a word is plain text
# Headings of what a reader must know before the numbers of several runs
LEFT_OUT_FILES = "Left out, since these files can't be read:"
LOST_WINDOWS = "Lost from these runs:"
KindOfPart = TypeVar("KindOfPart")


@dataclass(frozen=True)
class Bar:
    """A value with its interval beside a band, as a page draws it in a cell: places from 0 (left) to 100."""

    low: float
    value: float
    high: float
    band: tuple[float, float]
    shade: str  # the name of its colour on pages


@dataclass(frozen=True)
class Column:
    """A column for readers: its header, and a function that makes its text from a row of the frame."""

    header: str
    text: Callable[[dict[str, Any]], str]
    numeric: bool = False  # aligned on the right
    is_optional: bool = False  # on a page, shown when the reader asks for it
    tells_apart: bool = False  # it says which case a row is, so a narrow terminal leaves out every other column first
    about: str = ""
    below: str = ""  # of the heads of parts: the header of the column below, if that is another
    link: Callable[[dict[str, Any]], str] | None = None  # on a page, the address to which the text leads; "": none
    is_drawn: bool = False  # its text is a small picture, which LaTeX leaves out
    is_chosen: bool = False  # on a page, a button for each of its values chooses rows
    pooled: Literal["", "ratio", "range", "time"] = ""  # what the head of a part has of the rows that are chosen
    bar: Callable[[dict[str, Any]], "Bar | None"] | None = None  # on a page, what is drawn beside the text


def text_of(keys: str | tuple[str, ...], show: Callable[..., str] = str) -> Callable[[dict[str, Any]], str]:
    """Return a function that makes text from some values of a row."""
    names = (keys,) if isinstance(keys, str) else keys
    return lambda row: show(*(row[name] for name in names))


@dataclass(frozen=True)
class Table:
    """The same content twice: as text for readers, and as a frame with full precision for programs."""

    name: str  # of its files, without the extension
    title: str
    note: str  # what a reader must know to understand it; may be empty
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]  # at most MAX_TABLE_ROWS
    frame: pd.DataFrame
    breaks: frozenset[int]  # rows above which a new part starts
    cases: tuple[int, ...] = ()  # for each row, the row of the run's summary that it shows; empty: it shows none
    heads: "Table | None" = None  # a row for each part, which stands above it on a page
    is_folded: bool = False  # on a page, the reader opens it
    is_stacked: bool = False  # on the page of a phone, a row is a block of lines, each with its heading
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)  # addresses, by row and column
    aside: str = ""  # what concerns readers of a page, and no paper: such as what the machine can't measure
    hidden: frozenset[int] = frozenset()  # rows that a page shows when they are asked for, in parts of their own
    bars: Mapping[tuple[int, int], Bar] = field(default_factory=dict)  # by row and column
    paper: "Table | None" = None  # the same for a paper, with fewer columns; None: as it is

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers of its columns."""
        return tuple(column.header for column in self.columns)

    def parts(self) -> Iterator[tuple[tuple[str, ...], list[tuple[int, tuple[str, ...]]]]]:
        """Yield each part: the row of `heads` above it in the order of its own columns, and its rows with numbers."""
        starts = sorted({0, *self.breaks} if self.rows else set())
        heads = self.heads
        places = [column.below or column.header for column in heads.columns] if heads else []
        above = [dict(zip(places, row, strict=True)) for row in heads.rows] if heads else []
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(self.rows)], strict=False)):
            head = tuple(above[number].get(header, "") for header in self.headers) if above else ()
            yield head, [(row, self.rows[row]) for row in range(start, end)]

    def files(self) -> dict[str, bytes]:
        """Return its files by their names, in each of FILE_FORMATS."""
        texts = (csv(self.frame), markdown(self), latex(self))
        return {f"{self.name}.{kind}": encoded(text) for kind, text in zip(FILE_FORMATS, texts, strict=True)}


def where_new(column: "pd.Series[Any]") -> np.ndarray:
    """Return the rows whose value is not that of the row above: where a table has a break."""
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
    """Build a table. For readers, `columns` make text from each row of `frame`; programs get `machine`.

    `dataclasses.replace` adds what few tables have, such as `heads`.
    """
    rows: list[dict[Any, Any]] = frame.head(MAX_TABLE_ROWS).to_dict("records")
    link_makers = {place: column.link for place, column in enumerate(columns) if column.link}
    links = {(number, place): link(row) for number, row in enumerate(rows) for place, link in link_makers.items()}
    bar_makers = {place: column.bar for place, column in enumerate(columns) if column.bar}
    bars = {(number, place): bar(row) for number, row in enumerate(rows) for place, bar in bar_makers.items()}
    if len(frame) > MAX_TABLE_ROWS:
        note = (
            f"{note} Here are the first {MAX_TABLE_ROWS:,} of {len(frame):,} rows; tables/{name}.csv has all.".strip()
        )
    return Table(
        name,
        title,
        note,
        tuple(columns),
        tuple(tuple(column.text(row) for column in columns) for row in rows),
        machine,
        frozenset(int(row) for row in breaks if row < len(rows)),
        links={place: address for place, address in links.items() if address},
        bars={place: bar for place, bar in bars.items() if bar is not None},
    )


def csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV with every digit. Text that starts a formula gets an apostrophe in front."""
    frame = with_sentences(frame)

    def guarded(value: Any) -> Any:
        # pandas does not quote a carriage return
        return FORMULA.sub(r"'\1", re.sub(r"\r\n?", "\n", value)) if isinstance(value, str) else value

    names = frame.select_dtypes(exclude=["number", "bool"]).columns
    texts = {str(name): frame[name].map(guarded) for name in names}
    text: str = frame.assign(**texts).to_csv(index=False, lineterminator="\n")
    return text


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line and in one cell."""
    plain = MARKUP.sub(r"\\\1", one_line(text))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown(content: Table) -> str:
    """Return a table as GitHub-flavoured Markdown, with its title and note; numbers are aligned on the right."""
    lines = [map(escape, content.headers), ("---:" if column.numeric else ":---" for column in content.columns)]
    body = [f"| {' | '.join(line)} |" for line in (*lines, *(map(escape, row) for row in content.rows))]
    words = f"{content.note} {content.aside}".strip()
    note = [escape(words), ""] if words else []
    return "\n".join([f"## {escape(content.title)}", "", *note, *(body if content.rows else ["None."])]) + "\n"


def latex(content: Table) -> str:
    """Return the columns of a table that are not optional or drawn in LaTeX, which needs `booktabs`.

    It is the table for a paper, if that is another. One of many rows goes on in further tables.
    """
    content = content.paper or content
    places = [place for place, column in enumerate(content.columns) if not (column.is_optional or column.is_drawn)]
    return tables(
        content.name.replace("_", "-"),
        content.title,
        content.note,
        [content.headers[place] for place in places],
        [content.columns[place].numeric for place in places],
        [[row[place] for place in places] for row in content.rows],
    )


@dataclass(frozen=True)
class Lines:
    """Lines below a title, which is not shown without any: what a reader must not miss, or commands to type."""

    title: str
    lines: Sequence[str]
    are_commands: bool = False


SectionPart = Union[str, Lines, "Picture", Table]  # a text is a paragraph


@dataclass(frozen=True)
class Section:
    """A heading, and below it paragraphs, figures and tables in their order."""

    id: str  # the target of links; the same in every report
    title: str
    parts: Sequence[SectionPart]
    is_folded: bool = False  # the reader opens it

    def of(self, kind: type[KindOfPart]) -> list[KindOfPart]:
        """Return the parts of one kind, such as the paragraphs, which are `str`."""
        return [part for part in self.parts if isinstance(part, kind)]
