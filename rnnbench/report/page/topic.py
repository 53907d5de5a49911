"""A part of a report of several runs: words, figures and tables about one question."""

from dataclasses import dataclass

from rnnbench.report.figures.all_figures import Picture
from rnnbench.report.tables.table import Table


@dataclass(frozen=True)
class Topic:
    """The words say the answer first; figures and tables have names for their files."""

    name: str
    title: str
    words: tuple[str, ...]  # sentences, a paragraph each
    notes: tuple[str, ...]  # what a reader must know before the numbers, as environments that differ
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
