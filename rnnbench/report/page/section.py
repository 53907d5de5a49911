"""A section of a page: a question, and the paragraphs, figures and tables that answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rnnbench.report.figures.all_figures import Picture
from rnnbench.report.tables.table import Table

MAX_OPEN_ROWS = 200  # a longer table is folded until the reader opens it
# Headings of what a reader must know before the numbers of several runs
LEFT_OUT = "Left out, since these files can't be read:"
LOST = "Lost from these runs:"
DIFFERENCES = "Not the same in these runs:"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    kind: ClassVar[str] = "words"
    text: str


@dataclass(frozen=True)
class Commands:
    """Commands for the reader to type."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Warnings:
    """What a reader must not miss."""

    kind: ClassVar[str] = "warnings"
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """Words and their meanings, folded."""

    kind: ClassVar[str] = "terms"
    title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Links:
    """Links to more."""

    kind: ClassVar[str] = "links"
    title: str
    pairs: tuple[tuple[str, str], ...]  # the text and the target of each link


@dataclass(frozen=True)
class Drawn:
    """A figure."""

    kind: ClassVar[str] = "figure"
    picture: Picture


@dataclass(frozen=True)
class Listed:
    """A table; a long one is folded under its title."""

    kind: ClassVar[str] = "table"
    table: Table

    @property
    def is_long(self) -> bool:
        """Whether the table is folded."""
        return len(self.table.rows) > MAX_OPEN_ROWS


SectionPart = Paragraph | Commands | Warnings | Terms | Links | Drawn | Listed


@dataclass(frozen=True)
class Section:
    """A question and its answer."""

    id: str  # the target of links; the same in every report
    title: str
    short: str  # in the page's navigation
    parts: Sequence[SectionPart]

    @property
    def paragraphs(self) -> list[str]:
        """The texts of its paragraphs."""
        return [part.text for part in self.parts if isinstance(part, Paragraph)]

    @property
    def warnings(self) -> list[str]:
        """What a reader must not miss, one line each."""
        return [line for part in self.parts if isinstance(part, Warnings) for line in part.lines]

    @property
    def pictures(self) -> list[Picture]:
        """Its figures."""
        return [part.picture for part in self.parts if isinstance(part, Drawn)]

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [part.table for part in self.parts if isinstance(part, Listed)]


def of_runs(
    id: str,
    title: str,
    paragraphs: Sequence[str],
    warnings: Mapping[str, Sequence[str]],
    pictures: Sequence[Picture],
    tables: Sequence[Table],
) -> Section:
    """A section on several runs; `warnings`: the lines below each heading, which comes only with lines."""
    first = [Warnings(heading, tuple(lines)) for heading, lines in warnings.items() if lines]
    parts: list[SectionPart] = [*first, *map(Paragraph, paragraphs), *map(Drawn, pictures), *map(Listed, tables)]
    return Section(id, title, title, parts)
