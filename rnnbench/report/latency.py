"""How long a step of a stream takes: quantiles of its latency, and the share of late steps."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.summary import LATE_SHARE, LATENCIES, MIN_REPLICATES, measured_streams, quantile_name
from rnnbench.report.drawing.draw import REFERENCE, limits, log_ticks, rows, texts_beside
from rnnbench.report.drawing.marks import marks
from rnnbench.report.drawing.sheet import PAGE, Ax, Inches, most_rows, rows_high, sheet
from rnnbench.report.table import Column, Table, table, text_of, where_new
from rnnbench.report.words.names import SETTINGS, SIZES, one_line, say, several, with_series, with_short_cells, word
from rnnbench.report.words.units import MISSING, duration, duration_interval, duration_tick, round_percent

MAX_STREAMS = 60  # more do not fit a figure of a page; the table has all


def table_of_latency(summary: pd.DataFrame) -> Table | None:
    """Return a table with one row for each measured stream, or None if there is none."""
    rows = _by_workload(measured_streams(summary))
    if rows.empty:
        return None
    axes = several(rows, (*SETTINGS, *SIZES))
    periods = rows["period_seconds"].dropna().unique()
    columns = [
        Column("cell", text_of("series"), tells_apart=True),
        *(Column(word(axis), text_of(axis, one_line), numeric=axis in SIZES, tells_apart=True) for axis in axes),
        *(Column(quantile_name(name), text_of(_ends(name), _with_interval), numeric=True) for name in LATENCIES),
    ]
    if len(periods):
        header = f"later than {' or '.join(map(duration, periods))}"
        columns.append(Column(header, text_of(_ends(LATE_SHARE), _late), numeric=True))
    values = [column for name in (*LATENCIES, LATE_SHARE) for column in _ends(name)]
    return table(
        "latency",
        "How long a step of a stream takes",
        "Half of the steps take at most p50, 95% at most p95, and so on, each with a 95% interval. "
        f"{MISSING}: fewer than ten steps are slower. No interval: fewer than {MIN_REPLICATES} replicates, or it would "
        "reach beyond the slowest step.",
        columns,
        rows,
        machine=rows[["run", "case", *axes, "cell", "implementation", "period_seconds", *values]],
        breaks=where_new(rows["group"]),
    )


def _by_workload(streams: pd.DataFrame) -> pd.DataFrame:
    """Return the streams with their `series`, and with the number of their workload, by which they are sorted."""
    frame = with_series(streams)
    group = frame.groupby(["family", "phase", *SETTINGS, *SIZES], sort=False).ngroup()
    return frame.assign(group=group).sort_values("group", kind="stable")


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{duration(value)} ({duration_interval(low, high)})" if math.isfinite(low) else duration(value)


def _late(share: float, low: float, high: float) -> str:
    """Return `0.31% (0.12–0.66%)`."""
    return f"{round_percent(share)} ({round_percent(low).removesuffix('%')}–{round_percent(high)})"


def latency(
    frame: pd.DataFrame, ax: Ax = None, *, width: Inches = None, height: Inches = None, is_apart: bool = False
) -> Figure | None:
    """Draw how long a step of a stream takes, from p50 to p99.9: a row for each stream. It has one panel.

    `is_apart`: it is as high as its rows need.
    """
    frame = with_short_cells(frame)
    wide = width or PAGE
    streams = _by_workload(measured_streams(frame))
    if streams.empty or streams["latency_p50"].isna().all():
        return None
    streams = streams[streams["latency_p50"].notna()].head(
        MAX_STREAMS if is_apart else min(MAX_STREAMS, most_rows(ax, wide, height))
    )
    look_of = marks(with_series(frame))
    varied = several(streams, (*SETTINGS, *SIZES))
    names = [
        ", ".join([case["series"], *(say(axis, case[axis]) for axis in varied)]) for case in streams.to_dict("records")
    ]
    quantiles = streams[list(LATENCIES)]
    highest = [str(row.last_valid_index()) for _, row in quantiles.iterrows()]
    points = pd.DataFrame(
        {
            "y": range(len(streams)),
            "value": streams["latency_p50"],
            "low": streams["latency_p50"],
            "high": quantiles.max(axis=1),
            "shade": [look_of[series].shade for series in streams["series"]],
            "marker": [look_of[series].marker for series in streams["series"]],
        }
    )
    texts = [f"{quantile_name(name)} {duration(end)}" for name, end in zip(highest, points["high"], strict=True)]
    periods = sorted(streams["period_seconds"].dropna().unique())
    high = rows_high(len(streams), wide, is_apart=is_apart)
    with sheet(ax, wide, high, height=height, is_apart=is_apart) as canvas:
        rows(canvas, canvas.axes, names, points, thick=2, are_cases=True)
        texts_beside(canvas, canvas.axes, texts)
        for period in periods:
            canvas.axes.axvline(period, color=canvas.ink(), **REFERENCE)
        ends = limits([*quantiles.to_numpy(dtype=float).ravel(), *periods])
        log_ticks(canvas, canvas.axes.xaxis, *ends, duration_tick)
        canvas.axes.set_xlabel("time of a step (log scale)")
        label = f"p50, and a line to {' or '.join(sorted(set(map(quantile_name, highest))))}"
        handles = [Line2D([], [], color=canvas.ink("soft"), marker="o", markersize=5, linewidth=2, label=label)]
        if periods:
            label = f"period {' or '.join(map(duration, periods))}"
            handles.append(Line2D([], [], color=canvas.ink(), label=label, **REFERENCE))
        canvas.legend(handles)
    return canvas.figure
