"""Figure: the latency of a stream's steps. One row for each case, from the median to the slowest step in a thousand."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.runs.latency import QUANTILES, measured_streams, quantile_name
from rnnbench.report.figures.canvas import beside, log_axis, look, mark, quiet, short
from rnnbench.report.words.axes import SETTINGS, SIZES, say, several
from rnnbench.report.words.series import Style, by_workload, styles
from rnnbench.report.words.units import duration, duration_tick

MARKERS = dict(zip(QUANTILES, ("o", "|", "D", ">"), strict=True))  # the same for all cells; the colour tells the cell
MAX_ROWS = 60  # more do not fit a page; the table has all
PADDING = 1.15  # of the axis at both ends, as a factor
NUMBERS_AT = 62  # points from the axes to the end of the numbers


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure, or None if no quantile is known of any stream."""
    frame = by_workload(summary)
    look_of = styles(frame)
    streams = measured_streams(frame)
    if streams.empty or (streams := streams[streams["latency_p50"].notna()].head(MAX_ROWS)).empty:
        return None
    varied = several(streams, (*SETTINGS, *SIZES))
    with look():
        figure = Figure(figsize=(8.6, 0.23 * (len(streams) + streams["group"].nunique()) + 1.3), layout="constrained")
        axes, names, heading = figure.subplots(), list[str](), ""
        for _, cases in streams.groupby("group", sort=False):
            before, heading = heading, ", ".join(say(axis, cases[axis].iloc[0]) for axis in varied)
            if heading != before:
                where = axes.get_yaxis_transform()
                axes.text(0, len(names) + 0.15, heading, transform=where, weight="bold", va="center")
            names.append("")
            for index, case in cases.iterrows():
                _row(axes, len(names), case, look_of[case["series"]], int(str(index)))
                names.append(short(case["series"]))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -1.1)
        _across(axes, streams)
        figure.legend(handles=_legend(streams), loc="outside lower center", ncols=6, fontsize=8)
    return figure


def _row(axes: Axes, y: int, case: "pd.Series[float]", style: Style, index: int) -> None:
    known = [(name, float(case[name])) for name in QUANTILES if math.isfinite(case[name])]
    (line,) = axes.plot([value for _, value in known], [y] * len(known), color=style.color, linewidth=4, alpha=0.25)
    mark(line, [index])
    for name, value in known:
        (drawn,) = axes.plot(
            value, y, MARKERS[name], color=style.color, markersize=8 if name == "latency_p95" else 5,
            markerfacecolor=style.color if name == "latency_p50" else "white",
        )  # fmt: skip
        mark(drawn, [index])
    name, value = known[-1]
    (interval,) = axes.plot([case[f"{name}_low"], case[f"{name}_high"]], [y, y], color=style.color, linewidth=1)
    mark(interval, [index])
    beside(axes, y, NUMBERS_AT, duration(value), ha="right", fontsize=8.5, weight="bold")
    beside(axes, y, NUMBERS_AT + 6, quantile_name(name), ha="left", fontsize=8, color="#555555")


def _across(axes: Axes, streams: pd.DataFrame) -> None:
    """The axis of time, and the periods."""
    values = streams[list(QUANTILES)]
    periods = sorted(streams["period_seconds"].dropna().unique())
    low = min(float(values.min().min()), *periods, math.inf) / PADDING
    high = max(float(values.max().max()), *periods, 0.0) * PADDING
    for period in periods:
        axes.axvline(period, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        axes.annotate(
            f"period {duration(period)}",
            (period, 1),
            (-3, 2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_axis(axes.xaxis, low, high, duration_tick)
    axes.set_xlabel("time of a step (log scale)")
    axes.grid(axis="x")
    quiet(axes)


def _legend(streams: pd.DataFrame) -> Sequence[Line2D]:
    return [
        Line2D([], [], linestyle="", marker=MARKERS[name], color="#555555", label=quantile_name(name), markersize=6,
               markerfacecolor="#555555" if name == "latency_p50" else "white")
        for name in QUANTILES
        if streams[name].notna().any()
    ]  # fmt: skip
