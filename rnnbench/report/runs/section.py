"""A part of a report: words, figures and tables about one question."""

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.figure import Figure

from rnnbench.report import canvas
from rnnbench.report.figures import Picture
from rnnbench.report.table import Table


@dataclass(frozen=True)
class Section:
    """The words say the answer first; figures and tables have names for their files."""

    name: str
    title: str
    words: tuple[str, ...]  # sentences, a paragraph each
    notes: tuple[str, ...]  # what a reader must know before the numbers, as environments that differ
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]


def picture(name: str, title: str, caption: str, figure: Figure | None) -> Iterable[Picture]:
    """A drawn figure in both formats, if there is one."""
    if figure is not None:
        canvas.settle(figure)
        yield Picture(name, title, caption, canvas.svg(figure, name), canvas.png(figure))
