"""Figure: every replicate of a run, or every pair of a check, in the order of measuring, so that a drift shows."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rnnbench.report.colors import INKS
from rnnbench.report.figures.drawing.canvas import fixed_ticks, short
from rnnbench.report.figures.drawing.ink import Ink
from rnnbench.report.figures.drawing.sheet import refuse_several, sheet
from rnnbench.report.words.changes import change

MAX_PANELS = 6
COLUMNS = 2
NARROW = 6.0  # inches; a narrower figure has one column
MANY = 200  # points in a panel; of more, the median and bands at each place are drawn
ROUND = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # changes at which there may be a tick
TITLE_LETTERS = 58
MIN_SPAN = 1.025  # ratio between the middle and an end of the axis, at least
CUT = 0.98  # share of the points that set the axis; a stall of the machine would push all others together


def render(frame: pd.DataFrame, at: str, *, ax: Axes | None = None, width: float | None = None) -> Figure | None:
    """The figure, or None if there are no two points to compare. `width` in inches.

    `frame` has a row for each point: `panel`, the panel's title; `at`, its place, which `at` names in words; `ratio` of
    the typical call, and `mean_ratio` of the mean, NaN where it is not shown; and, if there is one, `margin`. At most
    `MAX_PANELS` panels are drawn.
    """
    panels = [panel for panel, points in frame.groupby("panel", sort=False) if points["at"].nunique() > 1][:MAX_PANELS]
    if not panels:
        return None
    shown = frame[frame["panel"].isin(panels)]
    limit, is_many = _limit(shown), shown.groupby("panel").size().max() > MANY
    refuse_several(ax, shown, ["panel"], len(panels))
    columns = min(1 if width and width < NARROW else COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (width or 0.8 + 4.4 * columns, 0.75 + 1.75 * rows)
    with sheet(ax, size, (rows, columns), sharex=True, sharey=True) as drawn:
        for axes in drawn.grid.flat[len(panels) :]:
            axes.axis("off")
        letters = int(TITLE_LETTERS * size[0] / columns / (0.4 + 4.4))
        for axes, panel in zip(drawn.grid.flat, panels, strict=False):
            _panel(axes, drawn.ink, shown[shown["panel"] == panel], limit, is_many=is_many)
            drawn.title(axes, short(str(panel), letters), fontsize=drawn.small)
        for axes in drawn.grid.flat[max(0, len(panels) - columns) : len(panels)]:
            axes.set_xlabel(at)
            axes.tick_params(labelbottom=True)
        drawn.legend(_legend(shown, drawn.ink, is_many=is_many), max(1, int(size[0] / 2.4)), "above")
    return drawn.figure


def _limit(frame: pd.DataFrame) -> float:
    """The upper end of the axis, as a ratio; the lower end is as far away."""
    logs = np.abs(np.log(frame[["ratio", "mean_ratio"]].to_numpy(dtype=float)))
    farthest = float(np.nanquantile(logs, CUT)) * 1.15
    margin = float(frame["margin"].max()) if "margin" in frame else 0.0
    return min(math.exp(max(farthest, 1.3 * math.log1p(margin), math.log(MIN_SPAN))), 1 + ROUND[-1])


def _panel(axes: Axes, ink: Ink, points: pd.DataFrame, limit: float, *, is_many: bool) -> None:
    if "margin" in points:
        edge = 1 + points["margin"].iloc[0]
        axes.axhspan(1 / edge, edge, color=ink.of(INKS["grid"]), linewidth=0, zorder=0)
    axes.axhline(1, color=ink.text, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    for column, color, marker in (("mean_ratio", ink.soft, "D"), ("ratio", ink.text, "o")):
        known = points[points[column].notna()]
        if is_many and len(known):
            _spread(axes, known["at"], known[column], color)
        elif len(known):
            _dots(axes, ink, known["at"], known[column].clip(1 / limit, limit), color, marker)
    axes.set_yscale("log")
    axes.set_ylim(1 / limit, limit)
    share = max(share for share in ROUND if _lower(share) * limit >= 1)
    fixed_ticks(axes.yaxis, [_lower(share), 1, 1 + share], change)
    if points["at"].dtype.kind == "i":
        first, last = points["at"].min(), points["at"].max()
        axes.set_xticks([tick for tick in MaxNLocator(integer=True).tick_values(first, last) if first <= tick <= last])
    axes.grid(axis="y")


def _lower(share: float) -> float:
    """The tick below no change beside one for `share` above it."""
    return 1 - share if share < 0.5 else 1 / (1 + share)


def _dots(axes: Axes, ink: Ink, at: "pd.Series[float]", ratios: "pd.Series[float]", color: str, marker: str) -> None:
    """Draw every point, and through filled ones a line: the median of each place."""
    is_filled = marker == "o"
    axes.plot(
        at,
        ratios,
        marker,
        color=color,
        markerfacecolor=color if is_filled else ink.paper,
        markersize=3.2,
        markeredgewidth=0.8,
        alpha=0.75,
        clip_on=False,
        zorder=3 if is_filled else 2,
    )
    if is_filled:
        medians = ratios.groupby(at).median()
        axes.plot(medians.index, medians, color=color, linewidth=1.1, alpha=0.8, zorder=2)


def _spread(axes: Axes, at: "pd.Series[float]", ratios: "pd.Series[float]", color: str) -> None:
    """Draw the median of each place as a line, and the middle half and nine tenths as bands."""
    at_each = ratios.groupby(at).quantile(np.array([0.05, 0.25, 0.5, 0.75, 0.95])).unstack()
    for low, high, alpha in ((0.05, 0.95, 0.15), (0.25, 0.75, 0.25)):
        axes.fill_between(at_each.index, at_each[low], at_each[high], color=color, alpha=alpha, linewidth=0, zorder=2)
    axes.plot(at_each.index, at_each[0.5], "o-", color=color, markersize=3.5, linewidth=1.3, zorder=3)


def _legend(frame: pd.DataFrame, ink: Ink, *, is_many: bool) -> list[Line2D | Patch]:
    def line(label: str, color: str, **how: Any) -> Line2D:
        return Line2D([], [], color=color, markersize=4, label=label, **how)

    handles: list[Line2D | Patch] = []
    if is_many:
        handles = [line("median of the cases", ink.text, marker="o", linewidth=1.3)]
        bands = (("half of them", 0.4), ("nine tenths", 0.15))
        handles += [Patch(facecolor=ink.text, alpha=alpha, label=label) for label, alpha in bands]
    elif frame["mean_ratio"].notna().any():
        handles = [line("typical call", ink.text, marker="o", linewidth=1.1)]
        mean = line("mean of the calls", ink.soft, marker="D", markerfacecolor=ink.paper, linestyle="")
        handles.append(mean)
    else:
        handles = [line("one case; the line is the median", ink.text, marker="o", linewidth=1.1)]
    if "margin" in frame:
        handles.append(Patch(facecolor=ink.of(INKS["grid"]), edgecolor=ink.line, label="margin"))
    return handles
