"""Figure: the time of each way to run a module over that of the module as given, one row for each shape."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report import colors
from rnnbench.report.figures.drawing.canvas import beside, log_axis
from rnnbench.report.figures.drawing.marks import letter
from rnnbench.report.figures.drawing.sheet import Sheet, sheet
from rnnbench.report.words.axes import one_line, say
from rnnbench.report.words.fastest import AS_GIVEN
from rnnbench.report.words.units import digits, duration, ratio, ratio_tick, span

LETTERS = {
    "hoisted": "h",
    "torch.nn": "t",
    "compiled": "c",
    "prepacked": "p",
}  # the mark of each way: shapes are for cells
SHAPE = ["phase", "batch_size", "seq_len"]
PADDING = 0.06  # of the axis, at both ends
ROW_INCHES = 0.42
CHOICE_AT, TIME_AT = 12, 288  # points from the axes to the start of the choices and the end of the times


def render(table: pd.DataFrame, given: str, *, ax: Axes | None = None) -> Figure:
    """The figure of `FastestModule.frame`; `given` is the module's name. Raises ValueError if nothing was timed."""
    timed = table[table["seconds"].notna()]
    if timed.empty:
        raise ValueError("nothing was timed, so there is nothing to draw: these ways are those of an earlier search")
    shapes = list(timed.groupby(SHAPE, sort=False))
    with sheet(ax, (8.6, ROW_INCHES * len(shapes) + 1.5)) as drawn:
        axes = drawn.axes
        for y, (_, ways) in enumerate(shapes):
            _row(drawn, y, ways)
        names = [f"batch {batch}, length {length}" for (_, batch, length), _ in shapes]
        axes.set_yticks(range(len(shapes)), names)
        axes.set_ylim(len(shapes) - 0.5, -0.5)
        _across(drawn, timed)
        first = timed.iloc[0]
        where = f"{first['device']}, {say('threads', int(first['threads']))}"
        phases = " and ".join(dict.fromkeys(timed["phase"]))
        drawn.title(axes, f"Fastest way to run {one_line(given)}: {phases} on {where}", weight="bold", pad=20)
    return drawn.figure


def _row(drawn: Sheet, y: int, ways: pd.DataFrame) -> None:
    axes, ink = drawn.axes, drawn.ink
    for way in ways.to_dict("records"):
        if way["way"] == AS_GIVEN:
            continue
        low, high = way["ratio_low"], way["ratio_high"]
        color = ink.of(colors.SLOWER if low > 1 else colors.FASTER if high < 1 else colors.INKS["soft"])
        if not math.isnan(low):
            axes.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.7, zorder=2)
        if way["is_chosen"]:
            axes.plot(way["ratio"], y, "o", color=color, markersize=14, markerfacecolor=ink.paper, zorder=3)
        axes.plot(way["ratio"], y, color=color, zorder=4, **_mark(way["way"]))
    best = ways[ways["is_chosen"]].iloc[0]
    interval = f" [{span(digits(best['ratio_low']), digits(best['ratio_high']), ', ')}]"
    numbers = "" if best["way"] == AS_GIVEN else f" {ratio(best['ratio'])}{interval}"
    beside(axes, y, CHOICE_AT, f"{best['way']}{numbers}", ha="left", weight="bold")
    beside(axes, y, TIME_AT, duration(best["seconds"]), ha="right")


def _mark(way: str) -> dict[str, Any]:
    return {"marker": letter(LETTERS[way]), "markersize": 8, "markeredgewidth": 0}


def _across(drawn: Sheet, timed: pd.DataFrame) -> None:
    """Draw what all rows share: the line of the module as given, the axis with its label, and the legend."""
    axes, soft = drawn.axes, drawn.ink.soft
    low, high = min(0.9, float(timed["ratio"].min())), max(1.1, float(timed["ratio"].max()))
    pad = (high / low) ** PADDING
    limits = low / pad, high * pad
    axes.axvline(1, color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    log_axis(axes.xaxis, *limits, ratio_tick)
    axes.set_xlabel("time per call over that of the module as given (log scale):  ← faster, slower →")
    axes.grid(axis="x")
    drawn.quiet(axes)
    beside(axes, -0.62, CHOICE_AT, "fastest way, ratio [95% interval]", ha="left", fontsize=drawn.small, color=soft)
    beside(axes, -0.62, TIME_AT, "time per call", ha="right", fontsize=drawn.small, color=soft)
    shown = [way for way in LETTERS if way in set(timed["way"])]
    drawn.legend([Line2D([], [], linestyle="", color=soft, label=way, **_mark(way)) for way in shown], 3, "above")
