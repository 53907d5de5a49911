"""Figures in the style of reports, as SVG and as PNG, with the rows that their marks show.

A figure of its own is laid out by matplotlib (`layout="constrained"`), and the same figure gives the same bytes.

"""

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style as styles
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from rnnbench.report.drawing.marks import INKS

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INKS["soft"].light,
    "axes.axisbelow": True,
    "grid.color": INKS["grid"].light,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # a name may contain a $
    "svg.fonttype": "none",  # letters that can be searched, copied and read aloud
    "svg.hashsalt": "rnnbench",  # the same ids every time
    "pdf.fonttype": 42,  # letters that can be searched and edited
}
METADATA: dict[str, dict[str, None]] = {  # without the date and the versions, so that files have the same bytes
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}
DOTS_PER_INCH = 160
MARKED = re.compile(r'\bid="cases((?:-[\d.]+)+)"')
WRITTEN = re.compile(r">[^<>\n]*</text>")  # in which a viewer would show several spaces as one
FONTS = "'DejaVu Sans', Verdana, sans-serif"  # Verdana's letters are as wide


@contextmanager
def report_style(**more: Any) -> Iterator[None]:
    """Apply the style of reports, whatever style is in force."""
    with styles.context(["default", STYLE | more]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


class ReportFigure(Figure):
    """A figure that keeps the style of reports in a notebook and in every file."""

    others: Sequence["ReportFigure"] = ()  # the panels after this one, if each is a figure of its own

    def draw(self, renderer: Any) -> None:
        """Draw the figure with the style of reports."""
        with report_style():
            super().draw(renderer)

    def savefig(self, fname: Any, **how: Any) -> None:
        """Save the figure with the style of reports, as `matplotlib.figure.Figure.savefig` does."""
        kind = how.get("format") or Path(str(fname)).suffix.removeprefix(".") or "png"
        with report_style():
            super().savefig(fname, **{"metadata": METADATA.get(kind)} | how)

    def _repr_png_(self) -> bytes:
        return _saved(self, "png")


@dataclass(frozen=True)
class Panel:
    """One figure as SVG and as PNG."""

    name: str  # of its files, without the extension
    svg: str
    png: bytes


@dataclass(frozen=True)
class Picture:
    """The panels of a figure, with their title and caption. A page shows as many beside each other as have room."""

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]

    def prefixed(self, prefix: str) -> "Picture":
        """Return the picture with a prefix before its name and those of its files."""
        panels = [replace(panel, name=f"{prefix}{panel.name}") for panel in self.panels]
        return replace(self, name=f"{prefix}{self.name}", panels=panels)


def picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Draw a figure and its other panels in both formats."""
    figures = [figure, *getattr(figure, "others", ())]
    names = [name] if len(figures) == 1 else [f"{name}_{number}" for number in range(1, len(figures) + 1)]
    return Picture(name, title, caption, list(map(_panel, names, figures)))


def _panel(name: str, figure: Figure) -> Panel:
    """Return a figure in both formats. This fixes its layout, which takes as long as drawing."""
    engine: Any = figure.get_layout_engine()
    with report_style():
        engine.execute(figure)
    figure.set_layout_engine(None)
    return Panel(name, svg(figure), png(figure))


def svg(figure: Figure) -> str:
    """Return a figure as SVG. Rows noted by `mark` are in attributes `data-cases`."""
    text = _saved(figure, "svg").decode().replace("'DejaVu Sans'", FONTS)
    text = WRITTEN.sub(lambda match: match[0].replace("  ", "\N{NO-BREAK SPACE} "), text)
    return MARKED.sub(lambda match: f'data-cases="{match[1][1:].replace("-", " ")}"', text)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    return _saved(figure, "png")


def _saved(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=DOTS_PER_INCH)
    return out.getvalue()


def mark(artist: Artist, cases: Iterable[int | Sequence[int]]) -> None:
    """Note which rows of the summary an artist shows, in drawing order. Pages select by these rows.

    A mark that stands for several rows has the one first to which it leads.
    """
    rows = [[case] if isinstance(case, int | np.integer) else case for case in cases]
    artist.set_gid("-".join(["cases", *(".".join(map(str, each)) for each in rows)]))
