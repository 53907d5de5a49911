"""Figure: how far each cell is from the reference in several runs: one row per series, a mark per run, same cases."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.together import Together
from rnnbench.report.colors import INKS
from rnnbench.report.figures.drawing.canvas import log_axis, look, quiet, short
from rnnbench.report.figures.drawing.marks import letter
from rnnbench.report.words.series import series_name
from rnnbench.report.words.units import ratio_tick

MARGIN = 1.1  # room at the ends of the axis
SHORT_NAME, MAX_NAME = 30, 60  # letters of a run's name: three fit in a row of the legend; at most drawn
STEP = 0.62  # share of a row's height that its runs fill
INK, SOFT, LINE = (INKS[name].light for name in ("ink", "soft", "line"))


def render(found: Together, runs: list[str]) -> Figure | None:
    """The figure, or None if no case is in all runs."""
    frame = medians(found)
    if frame.empty:
        return None
    phases, rows = (list(frame[key].unique()) for key in ("phase", "series"))
    low, high = min(1.0, frame["lower"].min()) / MARGIN, max(1.0, frame["upper"].max()) * MARGIN
    with look():
        height = 1.15 + len(rows) * max(0.3, 0.13 * len(runs))
        figure = Figure(figsize=(2.1 + 3.6 * max(len(phases), 1.4), height), layout="constrained")
        grid = figure.subplots(1, len(phases), sharex=True, sharey=True, squeeze=False)
        for axes, phase in zip(grid.flat, phases, strict=True):
            _panel(axes, frame[frame["phase"] == phase], rows, len(runs))
            axes.set_title(phase, loc="left")
            axes.set_xscale("log")
            axes.set_xlim(low, high)
            log_axis(axes.xaxis, low, high, ratio_tick)
            axes.set_xlabel("time over that of the reference of the same run (log scale)")
            axes.grid(axis="x")
            quiet(axes)
        grid[0, 0].set_yticks(range(len(rows)), list(map(short, rows)))
        grid[0, 0].set_ylim(len(rows) - 0.5, -0.5)
        handles = [_handle(index, run) for index, run in enumerate(runs)]
        columns = 3 if max(map(len, runs)) <= SHORT_NAME else 2
        figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(runs)), fontsize=8)
    return figure


def medians(found: Together) -> pd.DataFrame:
    """Median and quartiles of each series, phase and run, over the cases that all runs have."""
    rows = [
        {
            "series": series_name(row.case.cell, row.case.implementation),
            "phase": row.case.workload.phase,
            "run": index,
            "ratio": ratio.value,
        }
        for row in found.rows
        if all(row.ratios)
        for index, ratio in enumerate(row.ratios)
        if ratio is not None
    ]
    frame = pd.DataFrame(rows, columns=["series", "phase", "run", "ratio"])
    ratios = frame.groupby(["series", "phase", "run"], sort=False)["ratio"]
    named = {"median": 0.5, "lower": 0.25, "upper": 0.75}
    if frame.empty:
        return frame  # of no case in all runs
    return pd.DataFrame({column: ratios.quantile(quantile) for column, quantile in named.items()}).reset_index()


def _panel(axes: Axes, frame: pd.DataFrame, rows: list[str], runs: int) -> None:
    axes.axvline(1, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    offsets = np.linspace(-STEP / 2, STEP / 2, runs) if runs > 1 else [0.0]
    for row in frame.to_dict("records"):
        y = rows.index(row["series"]) + offsets[row["run"]]
        axes.plot([row["lower"], row["upper"]], [y, y], color=LINE, linewidth=3, solid_capstyle="butt")
        axes.plot(row["median"], y, linestyle="", zorder=3, **_mark(row["run"]))
    for edge in range(len(rows) - 1):
        axes.axhline(edge + 0.5, color=LINE, linewidth=0.6)


def _mark(run: int) -> dict[str, Any]:
    """The mark of a run is its number; the first, with which the others are compared, is black."""
    return {"marker": letter(str(run + 1)), "color": SOFT if run else INK, "markersize": 8.5, "markeredgewidth": 0}


def _handle(index: int, run: str) -> Line2D:
    return Line2D([], [], linestyle="", label=short(run, MAX_NAME), **_mark(index))
