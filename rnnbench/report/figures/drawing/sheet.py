"""Where a figure is drawn: on axes of its own in the look of reports, or on the caller's axes in the caller's style."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.report.figures.drawing.canvas import Shown, look, quiet
from rnnbench.report.figures.drawing.ink import Ink, ink

LegendPlace = Literal["inside", "above", "right"]
OUTSIDE: dict[LegendPlace, dict[str, Any]] = {
    "inside": {},
    "above": {"loc": "lower left", "bbox_to_anchor": (0, 1)},
    "right": {"loc": "upper left", "bbox_to_anchor": (1, 1)},
}
MIN_LETTERS = 7.0  # points, for letters that can still be read in print
LINE_WIDTH = 1.7  # inches, of a line of a legend
SMALL = 8 / 9  # of the style's size


@dataclass(frozen=True)
class Sheet:
    """The axes to draw on, and what their style gives."""

    figure: Figure
    grid: np.ndarray  # of Axes: rows, columns
    ink: Ink
    small: float  # points, of letters beside the axes
    is_own: bool  # not the caller's

    @property
    def axes(self) -> Axes:
        """The first of the axes."""
        first: Axes = self.grid[0, 0]
        return first

    def quiet(self, axes: Axes) -> None:
        """Remove frame and tick marks, unless the axes are the caller's."""
        if self.is_own:
            quiet(axes)

    def title(self, axes: Axes, text: str, **how: Any) -> None:
        """Write a title above axes of our own. The caller's have one part of the frame, which the caller knows."""
        if self.is_own:
            axes.set_title(text, loc="left", **how)

    def legend(self, handles: Sequence[Artist], columns: int = 1, place: LegendPlace = "inside") -> None:
        """The legend: below a figure of our own; at its `place` by the caller's axes, inside where it covers least."""
        if self.is_own:
            self.figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=self.small)
        else:
            self.axes.legend(handles=handles, fontsize=self.small, **OUTSIDE[place])

    def long_legend(self, handles: Sequence[Artist], width: float, *, is_beside: bool) -> None:
        """A legend of many lines: right of a figure of our own if `is_beside`, else below it; right of other axes.

        `width`: of the figure, in inches.
        """
        if is_beside and self.is_own:
            self.figure.legend(handles=handles, loc="outside right upper", fontsize=self.small)
        else:
            self.legend(handles, legend_columns(width), place="right")


@contextmanager
def sheet(
    ax: Axes | None, size: tuple[float, float], shape: tuple[int, int] = (1, 1), **subplots: Any
) -> Iterator[Sheet]:
    """Rows and columns of axes in a figure of this size in inches; the axes `ax`, in the style in force, if given."""
    if ax is not None:
        yield Sheet(ax.figure.figure, np.array([[ax]]), ink(ax), _small(), is_own=False)
        return
    with look():
        figure = Shown(figsize=size, layout="constrained")
        grid = figure.subplots(*shape, squeeze=False, **subplots)
        yield Sheet(figure, grid, ink(grid[0, 0]), _small(), is_own=True)


def legend_columns(width: float) -> int:
    """The number of columns of a legend below a figure of this width in inches."""
    return max(1, int(width / LINE_WIDTH))


def returned(figure: Figure, ax: Axes | None) -> Figure | Axes:
    """What a function that draws returns: the caller's axes if there are any, or else the figure."""
    return figure if ax is None else ax


def refuse_several(ax: Axes | None, cases: pd.DataFrame, axes: Sequence[str], panels: int) -> None:
    """Raise ValueError if there are several panels and one `ax` to draw them on; it says what to select.

    `axes`: the columns whose values make the panels.
    """
    if ax is None or panels <= 1:
        return
    several = [axis for axis in axes if cases[axis].nunique() > 1]
    if not several:
        raise ValueError(f"the frame makes {panels} panels: select fewer cases, or leave ax out")
    counted = f"{cases[several[0]].nunique()} values of {several[0]} make" if len(several) == 1 else "the frame makes"
    terms = [f"frame[{axis!r}] == {_plain(cases[axis].iloc[0])!r}" for axis in several]
    picked = terms[0] if len(terms) == 1 else " & ".join(f"({term})" for term in terms)
    raise ValueError(f"{counted} {panels} panels: select one, such as frame[{picked}], or leave ax out")


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python, as it is typed."""
    return value.item() if isinstance(value, np.generic) else value


def _small() -> float:
    return max(MIN_LETTERS, SMALL * float(matplotlib.rcParams["font.size"]))
