"""What a figure is drawn on: axes of its own in the style of reports, or the caller's axes in the caller's style.

A figure of its own is laid out by matplotlib (`layout="constrained"`), and the same figure gives the same bytes.
"""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib import style as styles
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from rnnbench.report.drawing.marks import INKS, Shade

Ax: TypeAlias = Axes | None  # the caller's axes, in place of a figure of its own
Inches: TypeAlias = float | None  # of a figure of its own, if the caller chose them

PAGE = 9.0  # inches: the width of a figure on a page
COLUMN = 5.0  # inches; a narrower figure is for a column of a paper, with the smallest letters that print well
TALLEST = 4.0  # inches: the height of such a figure, at most
MIN_LETTERS = 7.0  # points
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
    "svg.fonttype": "path",  # the same on every viewer, whatever fonts it has
    "svg.hashsalt": "rnnbench",  # the same ids every time
    "pdf.fonttype": 42,  # letters that can be searched and edited
}
METADATA: dict[str, dict[str, None]] = {  # without the date and the versions, so that files have the same bytes
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}
DOTS_PER_INCH = 160
MARKED = re.compile(r'\bid="cases((?:-\d+)+)"')
PAPER = INKS["card"].light
BRIGHT = 1.4  # sum of red, green and blue of a background that is as far from white as from black


@contextmanager
def report_style(**more: Any) -> Iterator[None]:
    """Apply the style of reports, whatever style is in force."""
    with styles.context(["default", STYLE | more]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


class ReportFigure(Figure):
    """A figure that keeps the style of reports in a notebook and in every file."""

    def draw(self, renderer: Any) -> None:
        """Draw it with the style of reports."""
        with report_style():
            super().draw(renderer)

    def savefig(self, fname: Any, **how: Any) -> None:
        """Save it with the style of reports, as `matplotlib.figure.Figure.savefig` does."""
        kind = how.get("format") or Path(str(fname)).suffix.removeprefix(".") or "png"
        with report_style():
            super().savefig(fname, **{"metadata": METADATA.get(kind)} | how)

    def _repr_png_(self) -> bytes:
        return _saved(self, "png")


@dataclass(frozen=True)
class Picture:
    """A figure as SVG and as PNG, with its title and caption."""

    name: str  # of its files, without the extension
    title: str
    caption: str
    svg: str
    png: bytes


def picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Draw a figure in both formats. This fixes its layout, which takes as long as drawing."""
    engine: Any = figure.get_layout_engine()
    with report_style():
        engine.execute(figure)
    figure.set_layout_engine(None)
    return Picture(name, title, caption, svg(figure), png(figure))


def svg(figure: Figure) -> str:
    """Return a figure as SVG. Rows noted by `mark` are in attributes `data-cases`."""
    return MARKED.sub(lambda match: f'data-cases="{match[1][1:].replace("-", " ")}"', _saved(figure, "svg").decode())


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    return _saved(figure, "png")


def _saved(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=DOTS_PER_INCH)
    return out.getvalue()


def mark(drawn: Artist | ErrorbarContainer, cases: Iterable[int]) -> None:
    """Note which rows of the summary an artist shows, in drawing order. Pages select by these rows."""
    line, caps, bars = drawn.lines if isinstance(drawn, ErrorbarContainer) else (drawn, (), ())
    for part in (line, *caps, *bars):
        part.set_gid("-".join(["cases", *map(str, cases)]))


@dataclass(frozen=True)
class Sheet:
    """The axes to draw on, and what their style gives."""

    figure: Figure
    grid: np.ndarray  # of Axes: rows, columns
    paper: str  # the background, as `#rrggbb`
    is_own: bool  # not the caller's
    width: float  # inches, of the figure or of the caller's axes
    height: float | None  # inches, if the caller chose it

    def ink(self, shade: Shade | str = "ink") -> str:
        """Return the form of a colour, or of one of `INKS`, for the background; letters have the default."""
        known = INKS[shade] if isinstance(shade, str) else shade
        return known.dark if sum(to_rgb(self.paper)) < BRIGHT else known.light

    @property
    def axes(self) -> Axes:
        """The first of the axes."""
        first: Axes = self.grid[0, 0]
        return first

    @property
    def is_narrow(self) -> bool:
        """Whether there is room for the most important texts alone."""
        return self.width < COLUMN or not self.is_own

    @property
    def small(self) -> float:
        """Points of letters beside others."""
        return MIN_LETTERS if self.is_narrow else 8.0

    def title(self, axes: Axes, text: str) -> None:
        """Write a title above axes of our own. The caller knows what the caller's axes show."""
        if self.is_own:
            letters = int(72 * self.width / self.grid.shape[1] / (0.62 * self.small))
            axes.set_title(textwrap.fill(text, letters), loc="left")

    def legend(self, handles: Sequence[Artist]) -> None:
        """Write the legend below a figure of our own, or above the caller's axes."""
        if not handles:
            return
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, min(len(handles), int(self.width * 72 / (0.56 * self.small * (longest + 5)))))
        how: dict[str, Any] = {"handles": handles, "ncols": columns, "fontsize": self.small, "columnspacing": 1.2}
        if not self.is_own:
            self.axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=1.4, borderaxespad=0.2, **how)
            return
        self.figure.legend(loc="outside lower center", handlelength=1.6, **how)
        if self.height is None:
            high = self.figure.get_figheight() + 0.1 + math.ceil(len(handles) / columns) * self.small * 1.6 / 72
            self.figure.set_figheight(min(high, TALLEST) if self.is_narrow else high)


@contextmanager
def sheet(
    ax: Axes | None,
    width: float,
    high: float,
    shape: tuple[int, int] = (1, 1),
    height: float | None = None,
    **subplots: Any,
) -> Iterator[Sheet]:
    """Yield rows and columns of axes in a new figure, or the axes `ax`, in the style in force.

    `high`: inches of the figure without its legend, unless the caller chose a `height`.
    """
    if ax is not None:
        figure = ax.figure.figure
        behind = [color for color in (ax.get_facecolor(), ax.figure.get_facecolor()) if to_rgba(color)[3] > 0.5]
        paper = str(to_hex(behind[0])) if behind else PAPER
        yield Sheet(figure, np.array([[ax]]), paper, False, ax.get_window_extent().width / figure.dpi, height)
        return
    with report_style(**({"font.size": 7.5, "lines.markersize": 4} if width < COLUMN else {})):
        figure = ReportFigure(figsize=(width, height or high), layout="constrained")
        grid = figure.subplots(*shape, squeeze=False, **subplots)
        yield Sheet(figure, grid, PAPER, True, width, height)
        for axes in grid.flat:
            axes.set_visible(axes.has_data())


def refuse_several(ax: Axes | None, panels: int, axes: Sequence[str]) -> None:
    """Raise ValueError if there are several panels, by these axes, and one `ax` to draw them on."""
    if ax is not None and panels > 1:
        raise ValueError(f"the frame makes {panels} panels: select one {' and one '.join(axes)}, or leave ax out")
