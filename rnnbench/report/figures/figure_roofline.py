"""Figure: how near each case comes to what the machine can do at best, as a roofline on log-log axes.

The roof (Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785) is the lower of two limits: the best rate
of arithmetic, and the rate of arithmetic for which memory can just move the bytes that must be moved.
"""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from rnnbench.analysis.runs.derived import moved_bytes_of
from rnnbench.report.figures.drawing.canvas import log_axis, mark, short
from rnnbench.report.figures.drawing.marks import CellMark, marks
from rnnbench.report.figures.drawing.sheet import MIN_LETTERS, Sheet, legend_columns, refuse_several, sheet
from rnnbench.report.words.axes import say_all, several
from rnnbench.report.words.metrics import with_metrics
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import memory, number_tick, rate
from rnnbench.store import ceilings
from rnnbench.store.ceilings import PLACE, Ceiling
from rnnbench.store.records import TORCH_OWN

SHAPE = 0.78  # height of a panel over its width
SLOPE = 45.0  # degrees, about, of a slope: how far its words are off it depends little on this
SLOPE_DECADES = 1.15  # length of the slope left of the flat part: room for its name
GUIDES = (10, 100, 1_000, 10_000)  # times below the roof, as faint lines
MANY = 60  # marks in a panel; more are drawn small and pale
GRID = 250  # cells along each side of a panel; of several marks of a series in one cell, the first is drawn
MAX_LETTERS = 24  # of a line of the legend
PANEL = 3.6, 2.7  # inches of a panel: as wide as it should be, and the least
AXIS_WIDE, LEGEND_WIDE = 0.6, 1.7  # inches: the numbers of the first panel, and the names beside the panels
LINE_HIGH = 0.18  # inches of a line of the legend


@dataclass(frozen=True)
class Span:
    """The ends of both axes, which all panels share."""

    left: float
    right: float
    bottom: float
    top: float


def render(summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None) -> Figure | None:
    """The figure, or None if no case has both a rate and a ceiling.

    `width` in inches. Raises ValueError if there are several panels for one `ax`.
    """
    cases = _with_ceilings(summary)
    look_of = marks(cases)
    if cases.empty:
        return None
    varied = several(cases, PLACE)
    keys = ["phase", *varied]
    panels: dict[Any, pd.DataFrame] = dict(iter(cases.groupby(keys, sort=False)))
    refuse_several(ax, cases, keys, len(panels))
    span, places, phases = _span(cases), list(dict.fromkeys(key[1:] for key in panels)), list(cases["phase"].unique())
    is_beside = width is None or width >= AXIS_WIDE + PANEL[1] * len(phases) + LEGEND_WIDE
    beside = AXIS_WIDE + (LEGEND_WIDE if is_beside else 0)
    wide = width or beside + PANEL[0] * len(phases)
    columns = len(phases) if wide >= beside + PANEL[1] * len(phases) else 1
    order = [(phase, *place) for place in places for phase in phases]
    legend = _legend_lines(cases, look_of)
    lines = sum(name.count("\n") + 1 for name, _ in legend)
    below = 0.0 if is_beside else LINE_HIGH * -(-lines // legend_columns(wide))
    high = ((wide - beside) / columns * SHAPE + 0.3) * len(order) / columns + 0.5 + below
    high = max(high, 0.2 + LINE_HIGH * lines if is_beside else 0.0)
    with sheet(ax, (wide, high), (len(order) // columns, columns), sharex=True, sharey=True) as drawn:
        for axes, key in zip(drawn.grid.flat, order, strict=True):
            group = panels.get(key, cases.head(0))
            _panel(drawn, axes, group, panels[next(other for other in panels if other[1:] == key[1:])], span, look_of)
            drawn.title(axes, ", ".join(filter(None, [key[0], say_all(varied, key[1:])])))
        for line in drawn.grid:
            line[0].set_ylabel("MACs per second")
        for axes in drawn.grid[-1]:
            axes.set_xlabel("MACs for each byte that must be moved")
        handles = [_handle(drawn, look, name) for name, look in legend]
        drawn.long_legend(handles, wide, is_beside=is_beside)
    return drawn.figure


def _with_ceilings(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases that have a rate and a ceiling, with `intensity`: their MACs for each byte that must be moved.

    The only place that reads the ceilings of the summary; from here on they are in the column `ceiling`.
    """
    cases = with_metrics(with_series(summary))
    if "ceiling" not in summary:
        return cases.head(0)
    cases["intensity"] = cases["macs"] / moved_bytes_of(cases)
    cases["ceiling"] = pd.Series(map(ceilings.of_text, cases["ceiling"]), index=cases.index, dtype=object)
    return cases[cases["ceiling"].notna() & cases["macs_per_second"].gt(0) & cases["intensity"].gt(0)]


def _span(cases: pd.DataFrame) -> Span:
    """The ends of both axes: room for all marks, the roofs above them, and enough of each slope for its name."""
    known = list(cases["ceiling"])
    ridges = [ceiling.macs_per_second / speed for ceiling in known for _, speed in _slopes(ceiling)]
    peaks = [ceiling.macs_per_second for ceiling in known]
    return Span(
        left=min(cases["intensity"].min() / 1.5, min(ridges) / 10**SLOPE_DECADES),
        right=max(cases["intensity"].max() * 2, max(ridges) * 10),
        bottom=min(cases["macs_per_second"].min() / 2, min(peaks) / 10 ** (SLOPE_DECADES + 0.3)),
        top=max(*peaks, cases["macs_per_second"].max()) * 2.2,
    )


def _slopes(ceiling: Ceiling) -> list[tuple[str, float]]:
    """The rates of memory in bytes per second, each with its name, the fastest first."""
    best, (size, largest, _) = ceiling.max_bytes_per_second(0), ceiling.copies[-1]
    return [("in cache", best), (f"for {memory(size)}", largest)] if best > 1.05 * largest else [("memory", best)]


def _panel(
    drawn: Sheet, axes: Axes, cases: pd.DataFrame, of_place: pd.DataFrame, span: Span, look_of: dict[str, CellMark]
) -> None:
    """Draw the cases of one phase below the roof of their place."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(span.left, span.right)
    axes.set_ylim(span.bottom, span.top)
    if drawn.is_own:
        axes.set_box_aspect(SHAPE)
    _roof(drawn, axes, of_place["ceiling"].iloc[0], span)
    is_crowded = len(cases) > MANY
    for series, series_cases in cases.groupby("series", sort=False):
        look = look_of[str(series)]
        color, shown = drawn.ink.of(look.shade), _apart(series_cases, span)
        (points,) = axes.plot(
            shown["intensity"],
            shown["macs_per_second"],
            linestyle="",
            marker=look.marker,
            color=color,
            markerfacecolor=color if look.filled else "none",
            markersize=2.8 if is_crowded else 4.5,
            markeredgewidth=0.7,
            alpha=0.65 if is_crowded else 0.9,
            zorder=3,
        )
        mark(points, shown.index)
    log_axis(axes.xaxis, span.left, span.right, lambda intensity: f"{intensity:,g}", most=6)
    log_axis(axes.yaxis, span.bottom, span.top, number_tick, most=6)


def _apart(cases: pd.DataFrame, span: Span) -> pd.DataFrame:
    """Leave out cases that would be drawn on top of another."""
    across = np.log(cases["intensity"] / span.left) / math.log(span.right / span.left)
    up = np.log(cases["macs_per_second"] / span.bottom) / math.log(span.top / span.bottom)
    cells = pd.DataFrame({"across": (GRID * across).round(), "up": (GRID * up).round()})
    return cases[~cells.duplicated()]


def _roof(drawn: Sheet, axes: Axes, ceiling: Ceiling, span: Span) -> None:
    """Draw the limits, each with its name and number on its line, and faint copies of the roof below."""
    peak = ceiling.macs_per_second
    slopes = _slopes(ceiling)
    fastest = slopes[0][1]
    corners = [span.left, peak / fastest, span.right]
    roof = [fastest * span.left, peak, peak]
    for times in GUIDES:
        axes.plot(corners, [height / times for height in roof], color=drawn.ink.line, linewidth=0.8, zorder=1)
        if peak / times > span.bottom * 1.3:
            _write(drawn, axes, f"{times:,}× below", (span.right, peak / times), ha="right", color=drawn.ink.soft)
    axes.plot(corners, roof, color=drawn.ink.text, linewidth=1.4, zorder=2)
    _write(drawn, axes, f"arithmetic {rate(peak, 'MAC')}", (span.right, peak), ha="right")
    for index, (name, speed) in enumerate(slopes):
        if index:  # the fastest is part of the roof
            axes.plot(
                [span.left, peak / speed],
                [speed * span.left, peak],
                color=drawn.ink.text,
                linewidth=1,
                linestyle="--",
                zorder=2,
            )
        left = max(span.left, span.bottom / speed)
        middle = math.sqrt(left * peak / speed)
        words = f"{rate(speed, 'B')} {name}"
        _write(drawn, axes, words, (middle, speed * middle), is_slope=True, below=index > 0)


class AlongLine(Annotation):
    """A few words along a line on which y is proportional to x, turned as the line is on paper."""

    def get_rotation(self) -> float:
        """The angle of the line in degrees, for whatever shape the axes have got."""
        x, y = self.xy
        assert self.axes is not None  # it is drawn, so it is on axes
        (left, low), (right, high) = self.axes.transData.transform([(x, y), (2 * x, 2 * y)])
        return math.degrees(math.atan2(high - low, right - left))


def _write(
    drawn: Sheet,
    axes: Axes,
    text: str,
    place: tuple[float, float],
    *,
    color: str = "",
    is_slope: bool = False,
    below: bool = False,
    ha: str = "center",
) -> None:
    """Write a few words along a line, just off it."""
    turned, off = math.radians(SLOPE if is_slope else 0.0), -3.0 if below else 3.0
    note = (AlongLine if is_slope else Annotation)(
        text,
        place,
        (-off * math.sin(turned), off * math.cos(turned)),
        textcoords="offset points",
        rotation_mode="anchor",
        ha=ha,
        va="top" if below else "baseline",
        fontsize=MIN_LETTERS,
        color=color or drawn.ink.text,
        zorder=4,
        path_effects=[withStroke(linewidth=2, foreground=drawn.ink.paper)],  # marks may lie below
    )
    axes.add_artist(note)


def _legend_lines(cases: pd.DataFrame, look_of: dict[str, CellMark]) -> list[tuple[str, CellMark]]:
    """Every series with its mark. Those with the same mark share a line: torch.nn's layers, and a cell's rungs."""
    names: dict[tuple[str, CellMark], list[str]] = {}
    for series, cell, implementation in (
        cases[["series", "cell", "implementation"]].drop_duplicates().itertuples(index=False)
    ):
        alike = ("" if implementation in TORCH_OWN else cell, look_of[series])
        first = "torch.nn" if implementation == "torch.nn" else short(series)
        known = names.setdefault(alike, [first])
        known += [] if first in known else [series if implementation in TORCH_OWN else implementation]
    return [(textwrap.fill(", ".join(known), MAX_LETTERS), look) for (_, look), known in names.items()]


def _handle(drawn: Sheet, look: CellMark, name: str) -> Line2D:
    color = drawn.ink.of(look.shade)
    return Line2D(
        [], [], color=color, linestyle="", marker=look.marker, markersize=4.5,
        markerfacecolor=color if look.filled else "none", label=name,
    )  # fmt: skip
