"""Figure: how far each cell is from its reference. One row per series, one dot per size, a bar for the median."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.report.figures.canvas import log_axis, look, mark, quiet, short
from rnnbench.report.words.axes import say_all, several
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.reference import is_reference, words
from rnnbench.report.words.series import Style, styles, with_series
from rnnbench.report.words.units import ratio, ratio_tick
from rnnbench.store.records import LOADS, OF_DATA

SPREAD = 0.32  # dots of a row lie within this distance of its middle
MARGIN = 1.08  # room at the ends of the axis
REACH = 3  # times the farthest mark: intervals are cut there, since longer ones would push all marks together
FEW = 2  # dots in a row; a bar for the median would hide so few and say nothing new
MANY = 120  # dots in a row; for more, their range and quartiles are drawn instead


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure, or None if no case has a ratio."""
    frame = with_series(summary)
    look_of = styles(frame)
    compared = frame[~is_reference(frame) & frame["ratio"].notna()]
    if compared.empty:
        return None
    rows = list(compared["series"].unique())
    phases = list(compared["phase"].unique())
    context = several(compared, CONTEXT)
    settings = list(dict.fromkeys(compared[context].itertuples(index=False, name=None))) or [()]
    ends = compared[["ratio", "ratio_low", "ratio_high"]]
    low, high = min(1.0, compared["ratio"].min()), max(1.0, compared["ratio"].max())  # of the marks
    limits = (
        max(min(1.0, ends.min().min()), low / REACH) / MARGIN,
        min(max(1.0, ends.max().max()), high * REACH) * MARGIN,
    )
    with look():
        height = (0.27 * len(rows) + 0.75) * len(settings) + 0.45
        figure = Figure(figsize=(2.0 + 3.9 * max(len(phases), 1.4), height), layout="constrained")
        grid = figure.subplots(len(settings), len(phases), sharex=True, sharey=True, squeeze=False)
        for line, setting in zip(grid, settings, strict=True):
            for axes, phase in zip(line, phases, strict=True):
                panel_cases = compared[compared["phase"] == phase]
                for axis, value in zip(context, setting, strict=True):
                    panel_cases = panel_cases[panel_cases[axis] == value]
                _panel(axes, panel_cases, rows, look_of, limits)
                _mark_reference(axes, words(summary).name, limits)
                axes.set_title(", ".join([phase, *filter(None, [_say(context, setting, phase)])]), loc="left", pad=16)
                axes.set_visible(not panel_cases.empty)
            _name_rows([axes for axes in line if axes.get_visible()], compared, rows)
        for column in grid.T:
            last = [axes for axes in column if axes.get_visible()][-1]
            last.set_xlabel(f"time over that of {words(summary).name} (log scale)")
            last.tick_params(labelbottom=True)
        sizes = compared.groupby(["phase", *context, "series"])["ratio"].size()
        handles = [*_legend(sizes)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _say(context: Sequence[str], setting: Sequence[Any], phase: str) -> str:
    """The settings that all cases of a panel share. A phase that loads nothing has no workers."""
    own = [(axis, value) for axis, value in zip(context, setting, strict=True) if phase in LOADS or axis not in OF_DATA]
    return say_all([axis for axis, _ in own], [value for _, value in own])


def _panel(
    axes: Axes, cases: pd.DataFrame, rows: Sequence[str], look_of: dict[str, Style], limits: tuple[float, float]
) -> None:
    for y, series in enumerate(rows):
        series_cases = cases[cases["series"] == series]
        if series_cases.empty:
            continue
        style = look_of[series]
        values = series_cases["ratio"].to_numpy(dtype=float)
        if len(series_cases) > MANY:
            _spread(axes, y, values, style)
        else:
            _dots(axes, y, series_cases, style)
        median = float(np.median(values))
        if len(series_cases) > FEW:
            axes.plot([median, median], [y - 0.4, y + 0.4], color="black", linewidth=2, zorder=4)
        axes.text(
            1.01, y, ratio(median), transform=axes.get_yaxis_transform(), va="center", weight="bold", fontsize=8.5
        )
    axes.text(1.01, 1.02, "median", transform=axes.transAxes, fontsize=8, color="#555555", va="bottom")
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    log_axis(axes.xaxis, *limits, ratio_tick)
    axes.grid(axis="x")
    quiet(axes)


def _dots(axes: Axes, y: int, cases: pd.DataFrame, style: Style) -> None:
    """Draw one mark for each workload of a series, with its interval."""
    offsets = np.linspace(-SPREAD, SPREAD, len(cases)) if len(cases) > 1 else np.zeros(1)
    values = cases["ratio"].to_numpy(dtype=float)
    reach = np.abs(cases[["ratio_low", "ratio_high"]].to_numpy(dtype=float).T - values)
    drawn = axes.errorbar(
        values,
        y + offsets,
        xerr=reach,
        fmt=style.marker,
        color=style.color,
        markerfacecolor=style.color if style.filled else "white",
        markersize=3.6,
        markeredgewidth=0.9,
        elinewidth=0.9,
        alpha=0.8,
    )
    mark(drawn, cases.index)


def _spread(axes: Axes, y: int, values: np.ndarray, style: Style) -> None:
    """Draw the range of a series as a line and the middle half of its workloads as a box."""
    low, lower, upper, high = np.quantile(values, (0, 0.25, 0.75, 1))
    face = style.color if style.filled else "white"
    axes.plot([low, high], [y, y], color=style.color, linewidth=1.2, solid_capstyle="butt")
    axes.barh(y, upper - lower, 0.5, lower, color=face, edgecolor=style.color, linewidth=1.1, zorder=3)


def _mark_reference(axes: Axes, name: str, limits: tuple[float, float]) -> None:
    axes.axvline(1, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.annotate(
        name,
        (1, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if limits[0] * 1.3 > 1 else "center",
        fontsize=8,
    )


def _name_rows(line: Sequence[Axes], compared: pd.DataFrame, rows: Sequence[str]) -> None:
    """Write row names on the left and draw a fine line between families."""
    line[0].set_yticks(range(len(rows)), list(map(short, rows)))
    line[0].tick_params(labelleft=True)
    line[0].set_ylim(len(rows) - 0.5, -0.5)
    families = compared.drop_duplicates("series").set_index("series").loc[list(rows), "family"].to_numpy()
    for panel in line:
        for row in np.flatnonzero(families[1:] != families[:-1]):
            panel.axhline(row + 0.5, color="#bbbbbb", linewidth=0.7)


def _legend(sizes: pd.Series) -> Iterator[Artist]:
    """The legend of panels whose rows have these numbers of cases."""
    if (sizes <= MANY).any():
        yield Line2D([], [], color="#555555", marker="o", markersize=4, linewidth=1, label="one workload, 95% interval")
    if (sizes > MANY).any():
        yield Patch(facecolor="#888888", label="half of the workloads")
        yield Line2D([], [], color="#555555", linewidth=1.2, label="all workloads")
    if (sizes > FEW).any():
        yield Line2D([], [], color="black", marker="|", markersize=11, markeredgewidth=2, linestyle="", label="median")
