"""Figure: the time of each live module over that of the reference, one row each, with the numbers beside it."""

import math
import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.report import colors
from rnnbench.report.figures.drawing.canvas import beside, log_axis
from rnnbench.report.figures.drawing.marks import OF_TORCH
from rnnbench.report.figures.drawing.sheet import Sheet, sheet
from rnnbench.report.words.axes import one_line, say
from rnnbench.report.words.units import digits, duration, ratio, ratio_tick, span

PADDING = 0.06  # of the axis, at both ends
MIN_SPAN = 1.1  # least ratio between the ends of the axis, so that 1% looks small
NAME_WIDTH = 28  # characters; longer names are folded
ROW_INCHES = 0.46
RATIO_AT, TIME_AT = 12, 222  # points from the axes to the start of the ratios and the end of the times


def render(measured: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """The figure of the frame of `rnnbench.measure`."""
    facts = measured.attrs
    reference = str(facts["reference"])
    rows: list[dict[Any, Any]] = [{"name": name} | row for name, row in measured.to_dict("index").items()]
    with sheet(ax, (8.2, ROW_INCHES * len(rows) + 1.25)) as drawn:
        axes = drawn.axes
        for y, row in enumerate(rows):
            _row(drawn, y, row, is_reference=row["name"] == reference)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [_name(row["name"]) for row in rows])
        _across(drawn, measured, reference)
        where = f"{facts['device']}, {say('threads', facts['threads'])}"
        drawn.title(axes, f"Time per call: {facts['phase']} on {where}", weight="bold", pad=20)
    return drawn.figure


def _row(drawn: Sheet, y: int, row: dict[Any, Any], *, is_reference: bool) -> None:
    axes, ink, value, low, high = drawn.axes, drawn.ink, row["ratio"], row["ratio_low"], row["ratio_high"]
    told = colors.SLOWER if low > 1 else colors.FASTER if high < 1 else colors.INKS["soft"]
    color = ink.of(colors.INKS["ink"] if is_reference else told)
    only_times = "times only" in row["parity"]
    axes.plot([1, value], [y, y], color=color, linewidth=5, alpha=0.25, solid_capstyle="butt", zorder=2)
    if not math.isnan(low):
        axes.plot([low, high], [y, y], color=color, linewidth=2, marker="|", markersize=9, zorder=3)
    axes.plot(
        value, y, OF_TORCH if is_reference else "o", color=color, markersize=6.5,
        markerfacecolor=ink.paper if only_times else color, zorder=4,
    )  # fmt: skip
    interval = "" if is_reference or math.isnan(low) else f" [{span(digits(low), digits(high), ', ')}]"
    text = "reference" if is_reference else ratio(value) + interval
    beside(axes, y, RATIO_AT, text, ha="left", weight="normal" if is_reference else "bold")
    beside(axes, y, TIME_AT, duration(row["seconds"]), ha="right")
    if only_times:
        beside(axes, y + 0.34, RATIO_AT, one_line(row["parity"]), ha="left", fontsize=drawn.small, color=ink.soft)


def _across(drawn: Sheet, measured: pd.DataFrame, reference: str) -> None:
    """Draw what all rows share: the line of the reference, the log axis with its label, and the column heads."""
    axes, ends = drawn.axes, measured[["ratio", "ratio_low", "ratio_high"]]
    low, high = min(1.0, float(ends.min().min())), max(1.0, float(ends.max().max()))
    wider = max(1.0, MIN_SPAN / (high / low)) ** 0.5
    low, high = low / wider, high * wider
    pad = (high / low) ** PADDING
    limits = low / pad, high * pad
    axes.axvline(1, color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    log_axis(axes.xaxis, *limits, ratio_tick)
    axes.set_xlabel(f"time per call over that of {_name(reference)} (log scale):  ← faster, slower →")
    axes.grid(axis="x")
    drawn.quiet(axes)
    for points, text, side in ((RATIO_AT, "ratio [95% interval]", "left"), (TIME_AT, "time per call", "right")):
        beside(axes, -0.62, points, text, ha=side, fontsize=drawn.small, color=drawn.ink.soft)


def _name(name: object) -> str:
    return textwrap.fill(one_line(name), NAME_WIDTH)
