"""Figure: the latency of a stream's steps. One row for each case, from the median to the slowest step in a thousand."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.runs.latency import QUANTILES, measured_streams, quantile_name
from rnnbench.report.figures.drawing.canvas import MAX_NAME_LENGTH, beside, log_axis, mark, short
from rnnbench.report.figures.drawing.marks import CellMark, marks
from rnnbench.report.figures.drawing.sheet import Sheet, sheet
from rnnbench.report.words.axes import SETTINGS, SIZES, say, several
from rnnbench.report.words.series import by_workload
from rnnbench.report.words.units import duration, duration_tick

WIDTHS = dict(zip(QUANTILES, (0.0, 7.0, 3.5, 1.5), strict=True))  # points: of the line that ends at a quantile
MAX_ROWS = 60  # more do not fit a page; the table has all
PADDING = 1.15  # of the axis at both ends, as a factor
NUMBERS_AT = 46  # points from the axes to the end of the numbers
TICK = 0.55  # inches of a number below the axes
SHORT = 18  # letters of a name where there is little room


def render(summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None) -> Figure | None:
    """The figure, or None if no quantile is known of any stream. `width` in inches."""
    frame = by_workload(summary)
    look_of = marks(frame)
    streams = measured_streams(frame)
    if streams.empty or (streams := streams[streams["latency_p50"].notna()].head(MAX_ROWS)).empty:
        return None
    varied = several(streams, (*SETTINGS, *SIZES))
    wide = width or 8.6
    letters = SHORT if wide < 5 else MAX_NAME_LENGTH
    size = (wide, 0.23 * (len(streams) + streams["group"].nunique()) + 1.3 + (0.4 if wide < 5 else 0))
    with sheet(ax, size) as drawn:
        axes, names, heading = drawn.axes, list[str](), ""
        for _, cases in streams.groupby("group", sort=False):
            before, heading = heading, ", ".join(say(axis, cases[axis].iloc[0]) for axis in varied)
            if heading != before:
                where = axes.get_yaxis_transform()
                axes.text(0, len(names) + 0.15, heading, transform=where, weight="bold", va="center")
            names.append("")
            for index, case in cases.iterrows():
                _row(drawn, len(names), case, look_of[case["series"]], index)
                names.append(short(case["series"], letters))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -1.1)
        _across(drawn, streams, max(2, min(7, int((wide - 2.2) / TICK))))
        drawn.legend(_legend(drawn, streams), max(1, min(6, int(wide / 1.2))))
    return drawn.figure


def _row(drawn: Sheet, y: int, case: "pd.Series[float]", look: CellMark, index: Any) -> None:
    """Draw a line that is thinner beyond each quantile, the mark of the cell at its median, and the last interval."""
    known = [(name, float(case[name])) for name in QUANTILES if math.isfinite(case[name])]
    color = drawn.ink.of(look.shade)
    for (_, low), (name, high) in pairwise(known):
        (line,) = drawn.axes.plot(
            [low, high], [y, y], color=color, linewidth=WIDTHS[name], alpha=0.45, solid_capstyle="butt", zorder=2
        )
        mark(line, [index])
    (median,) = drawn.axes.plot(
        known[0][1], y, look.marker, color=color, markersize=5.5, zorder=4,
        markerfacecolor=color if look.filled else drawn.ink.paper,
    )  # fmt: skip
    mark(median, [index])
    name, value = known[-1]
    ends = [case[f"{name}_low"], case[f"{name}_high"]]
    (interval,) = drawn.axes.plot(ends, [y, y], color=drawn.ink.text, linewidth=0.9, marker="|", markersize=6, zorder=3)
    mark(interval, [index])
    beside(drawn.axes, y, NUMBERS_AT, duration(value), ha="right", fontsize=drawn.small, weight="bold")
    beside(drawn.axes, y, NUMBERS_AT + 6, quantile_name(name), ha="left", fontsize=drawn.small, color=drawn.ink.soft)


def _across(drawn: Sheet, streams: pd.DataFrame, most: int) -> None:
    """The axis of time with at most so many numbers, and the periods."""
    axes = drawn.axes
    values = streams[list(QUANTILES)]
    periods = sorted(streams["period_seconds"].dropna().unique())
    low = min(float(values.min().min()), *periods, math.inf) / PADDING
    high = max(float(values.max().max()), *periods, 0.0) * PADDING
    for period in periods:
        axes.axvline(period, color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        axes.annotate(
            f"period {duration(period)}",
            (period, 1),
            (-3, 2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=drawn.small,
        )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_axis(axes.xaxis, low, high, duration_tick, most=most)
    axes.set_xlabel("time of a step (log scale)")
    axes.grid(axis="x")
    drawn.quiet(axes)


def _legend(drawn: Sheet, streams: pd.DataFrame) -> Sequence[Line2D]:
    soft: dict[str, Any] = {"color": drawn.ink.soft}
    known = [name for name in QUANTILES if streams[name].notna().any()]
    lines = [
        Line2D(
            [],
            [],
            **soft,
            linewidth=WIDTHS[name],
            alpha=0.45,
            label=f"{quantile_name(before)} to {quantile_name(name)}",
        )
        for before, name in pairwise(known)
    ]
    median = Line2D([], [], **soft, linestyle="", marker="o", markersize=5.5, label=quantile_name(known[0]))
    interval = Line2D(
        [], [], color=drawn.ink.text, linewidth=0.9, marker="|", markersize=6, label="95% interval of the last"
    )
    return [median, *lines, interval]
