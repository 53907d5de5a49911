"""What a figure is drawn on: axes of its own in the style of reports, or the caller's axes in the caller's style."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure

from rnnbench.report.drawing.marks import INKS, Shade
from rnnbench.report.drawing.pictures import ReportFigure, report_style

Ax: TypeAlias = Axes | None  # the caller's axes, in place of a figure of its own
Inches: TypeAlias = float | None  # of a figure of its own, if the caller chose them
PAGE = 9.0  # inches: the width of a figure on a page
COLUMN = 5.0  # inches; a narrower figure is for a column of a paper, with the smallest letters that print well
PANEL = 3.35  # inches: the width of a panel on a page, which shows it some 1.4 times as large
TALLEST = 4.0  # inches: the height of a figure for a column of a paper, at most
SMALL_PANEL = 2.2  # inches: the height of a panel of a history
MIN_LETTERS = 7.0  # points
PAPER = INKS["card"].light
BRIGHT = 1.4  # sum of red, green and blue of a background that is as far from white as from black
ROW = 0.24  # inches of a row on a page
LOW_ROW = 0.135  # the least
PANEL_ROW = 0.17  # inches of a row of a panel on a page
AROUND = 0.85  # inches above and below the rows


@dataclass(frozen=True)
class Sheet:
    """The axes to draw on, and what their style gives."""

    figures: Sequence[Figure]  # one, or one for each of the axes
    grid: np.ndarray  # of Axes: rows, columns
    paper: str  # the background, as `#rrggbb`
    is_own: bool  # not the caller's
    width: float  # inches, of the figure or of the caller's axes
    height: float | None  # inches, if the caller chose it
    tallest: float = math.inf  # inches, at most, of a figure whose height the caller did not choose

    def ink(self, shade: Shade | str = "ink") -> str:
        """Return the form of a colour, or of one of `INKS`, for the background; letters have the default."""
        colours = INKS[shade] if isinstance(shade, str) else shade
        return colours.dark if sum(to_rgb(self.paper)) < BRIGHT else colours.light

    @property
    def figure(self) -> Figure:
        """The first of the figures."""
        return self.figures[0]

    @property
    def axes(self) -> Axes:
        """The first of the axes."""
        first: Axes = self.grid[0, 0]
        return first

    @property
    def is_narrow(self) -> bool:
        """Return True if there is room for the most important texts alone."""
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

    @property
    def lowest(self) -> list[Axes]:
        """The axes that no others of their figure stand below."""
        return list(self.grid.flat if len(self.figures) > 1 else self.grid[-1])

    def legend(self, handles: Sequence[Artist]) -> None:
        """Write the legend below each figure of our own, or above the caller's axes."""
        if not handles:
            return
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, min(len(handles), int(self.width * 72 / (0.56 * self.small * (longest + 5)))))
        how: dict[str, Any] = {"handles": handles, "ncols": columns, "fontsize": self.small, "columnspacing": 1.2}
        if not self.is_own:
            self.axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=1.4, borderaxespad=0.2, **how)
            return
        for figure in self.figures:
            figure.legend(loc="outside lower center", handlelength=1.6, **how)
            if self.height is None:
                high = figure.get_figheight() + 0.1 + math.ceil(len(handles) / columns) * self.small * 1.6 / 72
                figure.set_figheight(min(high, self.tallest))


@contextmanager
def sheet(
    ax: Axes | None,
    width: float,
    high: float,
    shape: tuple[int, int] = (1, 1),
    height: float | None = None,
    *,
    is_apart: bool = False,
    **subplots: Any,
) -> Iterator[Sheet]:
    """Yield rows and columns of axes in a new figure, or the axes `ax`, in the style in force.

    `high`: inches of the figure without its legend, unless the caller chose a `height`; `is_apart`: each of the axes is
    a figure of its own, for a page, which scrolls, so it may be as high as it needs.
    """
    if ax is not None:
        figure = ax.figure.figure
        behind = [color for color in (ax.get_facecolor(), ax.figure.get_facecolor()) if to_rgba(color)[3] > 0.5]
        paper = str(to_hex(behind[0])) if behind else PAPER
        yield Sheet([figure], np.array([[ax]]), paper, False, ax.get_window_extent().width / figure.dpi, height)
        return
    with report_style(**({"font.size": 7.5, "lines.markersize": 4} if width < COLUMN else {})):
        if is_apart:
            number = math.prod(shape)
            figures = [ReportFigure(figsize=(width, high / number), layout="constrained") for _ in range(number)]
            figures[0].others = figures[1:]
            yield Sheet(figures, np.array([[figure.subplots()] for figure in figures]), PAPER, True, width, height)
            return
        figure = ReportFigure(figsize=(width, height or high), layout="constrained")
        grid = figure.subplots(*shape, squeeze=False, **subplots)
        yield Sheet([figure], grid, PAPER, True, width, height, TALLEST if width < COLUMN else math.inf)
        for axes in grid.flat:
            axes.set_visible(axes.has_data())


def small_panels(number: int) -> AbstractContextManager[Sheet]:
    """Return the sheet of so many small panels of a page."""
    return sheet(None, PANEL, SMALL_PANEL * number, (number, 1), is_apart=True)


def refuse_several(ax: Axes | None, panels: int, axes: Sequence[str]) -> None:
    """Raise ValueError if there are several panels, by these axes, and one `ax` to draw them on."""
    if ax is not None and panels > 1:
        raise ValueError(f"the frame makes {panels} panels: select one {' and one '.join(axes)}, or leave ax out")


def rows_high(rows: int, width: float, *, is_apart: bool = False) -> float:
    """Return the height in inches of a figure with so many rows, without its legend; `is_apart`: see `sheet`."""
    if is_apart:
        return AROUND + PANEL_ROW * rows
    return min(AROUND + LOW_ROW * rows, TALLEST) if width < COLUMN else AROUND + ROW * rows


def most_rows(ax: Axes | None, width: float, height: float | None) -> int:
    """Return how many rows have room on the caller's axes, or in a figure of this width and height in inches."""
    if ax is not None:
        return max(1, int(ax.get_window_extent().height / ax.figure.figure.dpi / LOW_ROW))
    high = height or (TALLEST if width < COLUMN else math.inf)
    return max(1, int((high - AROUND - 0.25) / LOW_ROW)) if math.isfinite(high) else 10_000
