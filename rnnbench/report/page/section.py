"""A section of a page: a question, and the paragraphs, figures and tables that answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from rnnbench.report.table import Table

if TYPE_CHECKING:  # matplotlib, which a terminal does not need
    from rnnbench.report.drawing.sheet import Picture

# Headings of what a reader must know before the numbers of several runs
LEFT_OUT = "Left out, since these files can't be read:"
LOST = "Lost from these runs:"
DIFFERENCES = "Not the same in these runs:"


@dataclass(frozen=True)
class Commands:
    """Commands for the reader to type."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Warnings:
    """What a reader must not miss."""

    title: str
    lines: tuple[str, ...]


SectionPart = Union[str, Commands, Warnings, "Picture", Table]  # a text is a paragraph


@dataclass(frozen=True)
class Section:
    """A heading, and below it paragraphs, figures and tables in their order."""

    id: str  # the target of links; the same in every report
    title: str
    parts: Sequence[SectionPart]
    is_folded: bool = False  # the reader opens it

    @property
    def paragraphs(self) -> list[str]:
        """Return its paragraphs."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def pictures(self) -> "list[Picture]":
        """Return its figures."""
        return [part for part in self.parts if not isinstance(part, str | Commands | Warnings | Table)]

    @property
    def tables(self) -> list[Table]:
        """Return its tables."""
        return [part for part in self.parts if isinstance(part, Table)]


def of_runs(
    id: str,
    title: str,
    paragraphs: Sequence[str],
    warnings: Mapping[str, Sequence[str]],
    pictures: "Sequence[Picture]",
    tables: Sequence[Table],
) -> Section:
    """Return a section on several runs; `warnings`: the lines below each heading, which comes only with lines."""
    first = [Warnings(heading, tuple(lines)) for heading, lines in warnings.items() if lines]
    return Section(id, title, [*first, *paragraphs, *pictures, *tables])
