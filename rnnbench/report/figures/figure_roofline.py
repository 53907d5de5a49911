"""Figure: how near each case comes to what the machine can do at best, as a roofline on log-log axes.

The roof (Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785) is the lower of two limits: the best rate
of arithmetic, and the rate of arithmetic for which memory can just move the bytes that must be moved.
"""

import math
import textwrap
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from rnnbench.analysis.runs.derived import moved_bytes
from rnnbench.report.figures.canvas import log_axis, look, mark, short
from rnnbench.report.words.axes import say_all, several
from rnnbench.report.words.metrics import with_metrics
from rnnbench.report.words.series import Style, styles, with_series
from rnnbench.report.words.units import memory, rate, rate_tick
from rnnbench.store import ceilings
from rnnbench.store.ceilings import PLACE, Ceiling

SHAPE = 0.78  # height of a panel over its width, fixed so that the angle of a slope is known
SLOPE_DECADES = 1.15  # length of the slope left of the flat part: room for its name
GUIDES = (10, 100, 1_000, 10_000)  # times below the roof, as faint lines
MANY = 60  # marks in a panel; more are drawn small and pale
GRID = 250  # cells along each side of a panel; of several marks of a series in one cell, the first is drawn
LEGEND_WIDTH = 24  # letters
INK, FAINT = "#333333", "#c8c8c8"


@dataclass(frozen=True)
class Span:
    """The ends of both axes, which all panels share."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def slope_degrees(self) -> float:
        """The angle on paper of a line along which y is proportional to x."""
        decades = math.log10(self.right / self.left) / math.log10(self.top / self.bottom)
        return math.degrees(math.atan(SHAPE * decades))


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure, or None if no case has both a rate and a ceiling."""
    if "ceiling" not in summary:
        return None
    cases = with_metrics(with_series(summary))
    look_of = styles(cases)
    cases["moved_bytes"] = pd.Series(map(moved_bytes, cases.to_dict("records")), index=cases.index, dtype=float)
    cases["intensity"] = cases["macs"] / cases["moved_bytes"]
    cases["ceiling"] = pd.Series(map(ceilings.of_text, cases["ceiling"]), index=cases.index, dtype=object)
    cases = cases[cases["ceiling"].notna() & cases["macs_per_second"].gt(0) & cases["intensity"].gt(0)]
    if cases.empty:
        return None
    varied = several(cases, PLACE)
    phases = list(cases["phase"].unique())
    groups = [group for _, group in cases.groupby(list(PLACE), sort=False)]
    span = _span(cases)
    with look():
        size = (2.3 + 3.6 * len(phases), 0.5 + (3.6 * SHAPE + 0.3) * len(groups))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(groups), len(phases), sharex=True, sharey=True, squeeze=False)
        for line, group in zip(grid, groups, strict=True):
            for axes, phase in zip(line, phases, strict=True):
                _panel(axes, group[group["phase"] == phase], group["ceiling"].iloc[0], span, look_of)
                setting = say_all(varied, group[varied].iloc[0])
                axes.set_title(", ".join(filter(None, [phase, setting])), loc="left")
            line[0].set_ylabel("MACs per second")
        for axes in grid[-1]:
            axes.set_xlabel("MACs for each byte that must be moved")
        _legend(figure, cases, look_of)
    return figure


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
    best, (size, copied) = ceiling.max_bytes_per_second(0), ceiling.copies[-1]
    largest = copied.value
    return [("in cache", best), (f"for {memory(size)}", largest)] if best > 1.05 * largest else [("memory", best)]


def _panel(axes: Axes, cases: pd.DataFrame, ceiling: Ceiling, span: Span, look_of: dict[str, Style]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(span.left, span.right)
    axes.set_ylim(span.bottom, span.top)
    axes.set_box_aspect(SHAPE)
    _roof(axes, ceiling, span)
    is_crowded = len(cases) > MANY
    for series, series_cases in cases.groupby("series", sort=False):
        style = look_of[str(series)]
        shown = _apart(series_cases, span)
        (marks,) = axes.plot(
            shown["intensity"],
            shown["macs_per_second"],
            linestyle="",
            marker=style.marker,
            color=style.color,
            markerfacecolor=style.color if style.filled else "none",
            markersize=2.8 if is_crowded else 4.5,
            markeredgewidth=0.7,
            alpha=0.55 if is_crowded else 0.85,
            zorder=3,
        )
        mark(marks, shown.index)
    log_axis(axes.xaxis, span.left, span.right, lambda intensity: f"{intensity:,g}", most=6)
    log_axis(axes.yaxis, span.bottom, span.top, rate_tick, most=6)


def _apart(cases: pd.DataFrame, span: Span) -> pd.DataFrame:
    """Leave out cases that would be drawn on top of another."""
    across = np.log(cases["intensity"] / span.left) / math.log(span.right / span.left)
    up = np.log(cases["macs_per_second"] / span.bottom) / math.log(span.top / span.bottom)
    cells = pd.DataFrame({"across": (GRID * across).round(), "up": (GRID * up).round()})
    return cases[~cells.duplicated()]


def _roof(axes: Axes, ceiling: Ceiling, span: Span) -> None:
    """Draw the limits, each with its name and number on its line, and faint copies of the roof below."""
    peak = ceiling.macs_per_second
    slopes = _slopes(ceiling)
    fastest = slopes[0][1]
    corners = [span.left, peak / fastest, span.right]
    roof = [fastest * span.left, peak, peak]
    for times in GUIDES:
        axes.plot(corners, [height / times for height in roof], color=FAINT, linewidth=0.8, zorder=1)
        if peak / times > span.bottom * 1.3:
            _write(axes, f"{times:,}× below", span.right, peak / times, "#8a8a8a", ha="right")
    axes.plot(corners, roof, color=INK, linewidth=1.4, zorder=2)
    _write(axes, f"arithmetic {rate(peak, 'MAC')}", span.right, peak, INK, ha="right")
    for index, (name, speed) in enumerate(slopes):
        if index:  # the fastest is part of the roof
            axes.plot(
                [span.left, peak / speed], [speed * span.left, peak], color=INK, linewidth=1, linestyle="--", zorder=2
            )
        left = max(span.left, span.bottom / speed)
        middle = math.sqrt(left * peak / speed)
        _write(
            axes,
            f"{rate(speed, 'B')} {name}",
            middle,
            speed * middle,
            INK,
            rotation=span.slope_degrees,
            below=index > 0,
        )


def _write(
    axes: Axes,
    text: str,
    x: float,
    y: float,
    color: str,
    *,
    ha: str = "center",
    rotation: float = 0,
    below: bool = False,
) -> None:
    """Write a few words along a line, just off it."""
    turned = math.radians(rotation)
    off = -3.0 if below else 3.0
    axes.annotate(
        text,
        (x, y),
        (-off * math.sin(turned), off * math.cos(turned)),
        textcoords="offset points",
        rotation=rotation,
        rotation_mode="anchor",
        ha=ha,
        va="top" if below else "baseline",
        fontsize=7,
        color=color,
        zorder=4,
        path_effects=[withStroke(linewidth=2, foreground="white")],  # marks may lie below
    )


def _legend(figure: Figure, cases: pd.DataFrame, look_of: dict[str, Style]) -> None:
    """List every series. Those with the same mark share a line: torch.nn's layers, and the rungs after the first."""
    names: dict[tuple[str, Style], list[str]] = {}
    for series, cell, implementation in (
        cases[["series", "cell", "implementation"]].drop_duplicates().itertuples(index=False)
    ):
        alike = ("", look_of[series]) if implementation == "torch.nn" else (cell, replace(look_of[series], line="-"))
        first = "torch.nn" if implementation == "torch.nn" else short(series)
        known = names.setdefault(alike, [first])
        known += [] if first in known else [implementation]
    handles = [_handle(style) for _, style in names]  # passed explicitly, so that any name will do
    labels = [textwrap.fill(", ".join(known), LEGEND_WIDTH) for known in names.values()]
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def _handle(style: Style) -> Line2D:
    face = style.color if style.filled else "none"
    return Line2D([], [], color=style.color, linestyle="", marker=style.marker, markersize=4.5, markerfacecolor=face)
