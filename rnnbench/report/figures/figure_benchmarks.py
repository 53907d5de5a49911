"""Figure: the time of each benchmark, one row each, by group, with the ratio to the reference beside it."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.colors import INKS
from rnnbench.report.figures.drawing.canvas import beside, log_axis, look, quiet, short
from rnnbench.report.figures.drawing.marks import OF_TORCH
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.benchmark_names import by_group
from rnnbench.report.words.units import duration, duration_tick, ratio
from rnnbench.store.pytest_benchmark import BenchmarkFiles

MAX_ROWS = 60  # more do not fit a figure; the table has them
NAME_LENGTH = 48
ROW_INCHES = 0.24
PADDING = 0.05  # of the axis, at both ends
PLAIN, SPREAD = INKS["soft"].light, INKS["line"].light
TIME_AT, RATIO_AT = 58, 118  # points from the axes to where a column of text ends


def render(summary: pd.DataFrame, saved: BenchmarkFiles) -> Figure | None:
    """The figure, or None if there are more than `MAX_ROWS` benchmarks."""
    if len(summary) > MAX_ROWS:
        return None
    lines = _lines(by_group(summary))
    with look():
        figure = Figure(figsize=(8.2, ROW_INCHES * len(lines) + 1.0), layout="constrained")
        axes = figure.subplots()
        for y, line in enumerate(lines):
            if isinstance(line, str):
                axes.annotate(
                    line, (0, y), (4, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                    va="center", fontsize=8, color=PLAIN,
                )  # fmt: skip
            else:
                _row(axes, y, line)
        axes.set_ylim(len(lines) - 0.5, -1.4)
        rows = [(y, line) for y, line in enumerate(lines) if not isinstance(line, str)]
        axes.set_yticks([y for y, _ in rows], [short(one_line(row["name"]), NAME_LENGTH) for _, row in rows])
        _across(axes, summary)
        figure.legend(handles=_legend(summary, saved), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _lines(frame: pd.DataFrame) -> list[str | dict[Any, Any]]:
    """The rows. If there are several groups, the name of each stands above its rows."""
    lines: list[str | dict[Any, Any]] = []
    for group, rows in frame.groupby("group", sort=False):
        if frame["group"].nunique() > 1:
            lines.append(short(one_line(group), 2 * NAME_LENGTH) if group else "in no group")
        lines += rows.to_dict("records")
    return lines


def _row(axes: Axes, y: int, row: dict[Any, Any]) -> None:
    color = "black" if row["is_reference"] else PLAIN
    if math.isfinite(row["rounds_high_seconds"]):
        ends = [row["rounds_low_seconds"], row["rounds_high_seconds"]]
        axes.plot(ends, [y, y], color=SPREAD, linewidth=5, solid_capstyle="butt", zorder=2)
    if math.isfinite(row["seconds_low"]):
        ends = [row["seconds_low"], row["seconds_high"]]
        axes.plot(ends, [y, y], color=color, linewidth=1.4, marker="|", markersize=7, zorder=3)
    axes.plot(row["seconds"], y, OF_TORCH if row["is_reference"] else "o", color=color, markersize=4.5, zorder=4)
    beside(axes, y, TIME_AT, duration(row["seconds"]), ha="right", fontsize=8.5)
    if not math.isnan(row["ratio"]):
        is_reference = row["is_reference"]
        text = "reference" if is_reference else ratio(row["ratio"])
        beside(axes, y, RATIO_AT, text, ha="right", fontsize=8.5, weight="normal" if is_reference else "bold")


def _across(axes: Axes, summary: pd.DataFrame) -> None:
    columns = ["seconds", "seconds_low", "seconds_high", "rounds_low_seconds", "rounds_high_seconds"]
    low, high = float(summary[columns].min().min()), float(summary[columns].max().max())
    pad = max(high / low, 1.1) ** PADDING
    for points, text in ((TIME_AT, "time"), (RATIO_AT, "ratio" if summary["ratio"].notna().any() else "")):
        beside(axes, -1, points, text, ha="right", fontsize=8, color=PLAIN)
    axes.set_xscale("log")
    axes.set_xlim(low / pad, high * pad)
    log_axis(axes.xaxis, low / pad, high * pad, duration_tick)
    axes.set_xlabel("time per call (log scale)")
    axes.grid(axis="x")
    quiet(axes)


def _legend(summary: pd.DataFrame, saved: BenchmarkFiles) -> list[Line2D]:
    spread = "quartiles of its rounds (one process)" if len(saved.sessions) == 1 else "quartiles of a process's rounds"
    units = "replicates" if saved.is_exported else "processes"  # one has no interval
    interval = f"95% interval over {len(saved.sessions):,} {units}"
    handles = [Line2D([], [], color=PLAIN, marker="o", markersize=4.5, linestyle="", label="time")]
    if summary["rounds_high_seconds"].notna().any():
        handles.append(Line2D([], [], color=SPREAD, linewidth=5, label=spread))
    if summary["seconds_low"].notna().any():
        handles.append(Line2D([], [], color=PLAIN, linewidth=1.4, marker="|", markersize=7, label=interval))
    return handles
