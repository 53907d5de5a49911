"""Figure: the time of each live module over that of the reference, one row each, with the numbers beside it."""

import math
import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.report import colors
from rnnbench.report.figures.canvas import Shown, beside, log_axis, look, quiet
from rnnbench.report.figures.drawing.marks import OF_TORCH
from rnnbench.report.words.axes import one_line, say
from rnnbench.report.words.units import digits, duration, ratio, ratio_tick, span

FASTER, SLOWER, ALIKE = colors.FASTER.light, colors.SLOWER.light, colors.INKS["soft"].light
PADDING = 0.06  # of the axis, at both ends
MIN_SPAN = 1.1  # least ratio between the ends of the axis, so that 1% looks small
NAME_WIDTH = 28  # characters; longer names are folded
ROW_INCHES = 0.46
RATIO_AT, TIME_AT = 12, 222  # points from the axes to the start of the ratios and the end of the times


def render(measured: pd.DataFrame) -> Figure:
    """The figure of a frame that `rnnbench.measure` returned."""
    facts = measured.attrs
    reference = str(facts["reference"])
    rows: list[dict[Any, Any]] = [{"name": name} | row for name, row in measured.to_dict("index").items()]
    with look():
        figure = Shown(figsize=(8.2, ROW_INCHES * len(rows) + 1.25), layout="constrained")
        axes = figure.subplots()
        for y, row in enumerate(rows):
            _row(axes, y, row, is_reference=row["name"] == reference)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [_name(row["name"]) for row in rows], fontsize=10)
        _across(axes, measured, reference)
        where = f"{facts['device']}, {say('threads', facts['threads'])}"
        axes.set_title(f"Time per call: {facts['phase']} on {where}", loc="left", fontsize=10, weight="bold", pad=20)
    return figure


def _row(axes: Axes, y: int, row: dict[Any, Any], *, is_reference: bool) -> None:
    value, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
    color = "black" if is_reference else SLOWER if low > 1 else FASTER if high < 1 else ALIKE
    only_times = "times only" in row["parity"]
    axes.plot([1, value], [y, y], color=color, linewidth=5, alpha=0.25, solid_capstyle="butt", zorder=2)
    if not math.isnan(low):
        axes.plot([low, high], [y, y], color=color, linewidth=2, marker="|", markersize=9, zorder=3)
    axes.plot(
        value, y, OF_TORCH if is_reference else "o", color=color, markersize=6.5,
        markerfacecolor="white" if only_times else color, zorder=4,
    )  # fmt: skip
    interval = "" if is_reference or math.isnan(low) else f" [{span(digits(low), digits(high), ', ')}]"
    text = "reference" if is_reference else ratio(value) + interval
    beside(axes, y, RATIO_AT, text, ha="left", fontsize=10, weight="normal" if is_reference else "bold")
    beside(axes, y, TIME_AT, duration(row["seconds"]), ha="right", fontsize=10)
    if only_times:
        beside(axes, y + 0.34, RATIO_AT, one_line(row["parity"]), ha="left", fontsize=7.5, color=ALIKE)


def _across(axes: Axes, measured: pd.DataFrame, reference: str) -> None:
    """Draw what all rows share: the line of the reference, the log axis with its label, and the column heads."""
    ends = measured[["ratio", "ratio_low", "ratio_high"]]
    low, high = min(1.0, float(ends.min().min())), max(1.0, float(ends.max().max()))
    wider = max(1.0, MIN_SPAN / (high / low)) ** 0.5
    low, high = low / wider, high * wider
    pad = (high / low) ** PADDING
    limits = low / pad, high * pad
    axes.axvline(1, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    log_axis(axes.xaxis, *limits, ratio_tick)
    axes.set_xlabel(f"time per call over that of {_name(reference)} (log scale):  ← faster, slower →")
    axes.grid(axis="x")
    quiet(axes)
    for points, text, side in ((RATIO_AT, "ratio [95% interval]", "left"), (TIME_AT, "time per call", "right")):
        beside(axes, -0.62, points, text, ha=side, fontsize=8, color=ALIKE)


def _name(name: object) -> str:
    return textwrap.fill(one_line(name), NAME_WIDTH)
