"""Figure: the time of each way to run a module over that of the module as given, one row for each shape."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.figures.canvas import Shown, beside, log_axis, look, quiet
from rnnbench.report.figures.drawing.marks import letter
from rnnbench.report.figures.figure_measured import ALIKE, FASTER, SLOWER
from rnnbench.report.words.axes import one_line, say
from rnnbench.report.words.fastest import AS_GIVEN
from rnnbench.report.words.units import digits, duration, ratio, ratio_tick, span

LETTERS = {"hoisted": "h", "compiled": "c", "prepacked": "p"}  # the mark of each way: shapes are for cells
SHAPE = ["phase", "batch_size", "seq_len"]
PADDING = 0.06  # of the axis, at both ends
ROW_INCHES = 0.42
CHOICE_AT, TIME_AT = 12, 288  # points from the axes to the start of the choices and the end of the times


def render(table: pd.DataFrame, given: str) -> Figure:
    """The figure of `FastestModule.table`; `given` is the module's name. Raises ValueError if nothing was timed."""
    timed = table[table["seconds"].notna()]
    if timed.empty:
        raise ValueError("nothing was timed, so there is nothing to draw: these ways are those of an earlier search")
    shapes = list(timed.groupby(SHAPE, sort=False))
    with look():
        figure = Shown(figsize=(8.6, ROW_INCHES * len(shapes) + 1.5), layout="constrained")
        axes = figure.subplots()
        for y, (_, ways) in enumerate(shapes):
            _row(axes, y, ways)
        names = [f"batch {batch}, length {length}" for (_, batch, length), _ in shapes]
        axes.set_yticks(range(len(shapes)), names, fontsize=9.5)
        axes.set_ylim(len(shapes) - 0.5, -0.5)
        _across(axes, timed)
        first = timed.iloc[0]
        where = f"{first['device']}, {say('threads', int(first['threads']))}"
        phases = " and ".join(dict.fromkeys(timed["phase"]))
        title = f"Fastest way to run {one_line(given)}: {phases} on {where}"
        axes.set_title(title, loc="left", fontsize=10, weight="bold", pad=20)
    return figure


def _row(axes: Axes, y: int, ways: pd.DataFrame) -> None:
    for way in ways.to_dict("records"):
        if way["way"] == AS_GIVEN:
            continue
        low, high = way["ratio_low"], way["ratio_high"]
        color = SLOWER if low > 1 else FASTER if high < 1 else ALIKE
        if not math.isnan(low):
            axes.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.7, zorder=2)
        if way["is_chosen"]:
            axes.plot(way["ratio"], y, "o", color=color, markersize=14, markerfacecolor="white", zorder=3)
        axes.plot(way["ratio"], y, color=color, zorder=4, **_mark(way["way"]))
    best = ways[ways["is_chosen"]].iloc[0]
    interval = f" [{span(digits(best['ratio_low']), digits(best['ratio_high']), ', ')}]"
    numbers = "" if best["way"] == AS_GIVEN else f" {ratio(best['ratio'])}{interval}"
    beside(axes, y, CHOICE_AT, f"{best['way']}{numbers}", ha="left", fontsize=9.5, weight="bold")
    beside(axes, y, TIME_AT, duration(best["seconds"]), ha="right", fontsize=9.5)


def _mark(way: str) -> dict[str, Any]:
    return {"marker": letter(LETTERS[way]), "markersize": 8, "markeredgewidth": 0}


def _across(axes: Axes, timed: pd.DataFrame) -> None:
    """Draw what all rows share: the line of the module as given, the axis with its label, and the legend."""
    low, high = min(0.9, float(timed["ratio"].min())), max(1.1, float(timed["ratio"].max()))
    pad = (high / low) ** PADDING
    limits = low / pad, high * pad
    axes.axvline(1, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    log_axis(axes.xaxis, *limits, ratio_tick)
    axes.set_xlabel("time per call over that of the module as given (log scale):  ← faster, slower →")
    axes.grid(axis="x")
    quiet(axes)
    beside(axes, -0.62, CHOICE_AT, "fastest way, ratio [95% interval]", ha="left", fontsize=8, color=ALIKE)
    beside(axes, -0.62, TIME_AT, "time per call", ha="right", fontsize=8, color=ALIKE)
    shown = [way for way in LETTERS if way in set(timed["way"])]
    handles = [Line2D([], [], linestyle="", color=ALIKE, label=way, **_mark(way)) for way in shown]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, fontsize=8.5)
