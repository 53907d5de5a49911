"""Figure: how time per call grows with batch, length and hidden size, on log-log axes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.axes import SETTINGS, SIZES, say_all, swept, word
from rnnbench.report.canvas import fixed_ticks, log_axis, look
from rnnbench.report.series import Style, styles, with_series
from rnnbench.report.units import duration_tick

MOST_NUMBERS = 10  # that fit below a panel
GROWING = ("batch_size", "seq_len", "hidden_size")


@dataclass(frozen=True)
class Panel:
    """The cases of one family and phase along one axis, the others held."""

    family: str
    phase: str
    axis: str
    held: str
    cases: pd.DataFrame


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure; None where no axis has two measured values with the others equal."""
    frame = with_series(summary)
    look_of = styles(frame)
    measured = frame[frame["seconds"].notna()]
    panels = [
        panel
        for (family, phase), cases in measured.groupby(["family", "phase"], sort=False)
        for panel in _panels(str(family), str(phase), cases)
    ]
    if not panels:
        return None
    rows, columns = _places(panels)
    with look():
        size = (1.9 + 2.75 * len(columns), 2.45 * len(rows) + 0.1)
        figure = Figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(h_pad=0.09)  # type: ignore[union-attr, call-arg]
        grid = figure.subplots(len(rows), len(columns), sharey="row", squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            _row(line, [row.get(column) for column in columns], look_of)
    return figure


def _places(panels: list[Panel]) -> tuple[list[dict[str, Panel]], list[str]]:
    """Rows of panels by column: an axis a column where several grow, else a phase a column."""
    axes = [axis for axis in GROWING if any(panel.axis == axis for panel in panels)]
    by_axis = len(axes) > 1
    rows: dict[tuple[str, ...], dict[str, Panel]] = {}
    for panel in panels:
        row, column = ((panel.family, panel.phase), panel.axis) if by_axis else ((panel.family,), panel.phase)
        rows.setdefault(row, {})[column] = panel
    return list(rows.values()), axes if by_axis else list(dict.fromkeys(panel.phase for panel in panels))


def _row(line: Sequence[Axes], panels: Sequence[Panel | None], look_of: dict[str, Style]) -> None:
    """One row of panels, which share their time axis and their legend."""
    shown = [(axes, panel) for axes, panel in zip(line, panels, strict=True) if panel]
    for axes in line:
        axes.axis("off")
    for axes, panel in shown:
        axes.axis("on")
        _draw(axes, panel, look_of)
    first = shown[0][0]
    first.set_ylabel("time per call")
    first.tick_params(labelleft=True)
    seconds = pd.concat([panel.cases["seconds"] for _, panel in shown])
    first.set_ylim(seconds.min() / 1.3, seconds.max() * 1.3)
    log_axis(first.yaxis, seconds.min() / 1.3, seconds.max() * 1.3, duration_tick, most=6)
    names = list(dict.fromkeys(str(name) for _, panel in shown for name in panel.cases["series"]))
    handles = [_handle(look_of[name]) for name in names]  # handed over, so that any name will do
    line[-1].legend(handles, names, loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=8)


def _panels(family: str, phase: str, cases: pd.DataFrame) -> Iterator[Panel]:
    """For each axis that grows: of the cases that differ in it alone, the most; of equally many, the largest sizes."""
    axes = swept(cases, (*SIZES, *SETTINGS))
    for axis in (axis for axis in GROWING if axis in axes):
        others = [other for other in axes if other != axis]
        held: tuple[object, ...] = ()
        best = cases
        if others:
            groups = list(cases.groupby(others, sort=True))
            most = max(group[axis].nunique() for _, group in groups)
            held, best = next((held, group) for held, group in reversed(groups) if group[axis].nunique() == most)
        if best[axis].nunique() > 1:
            yield Panel(family, phase, axis, say_all(others, held), best)


def _draw(axes: Axes, panel: Panel, look_of: dict[str, Style]) -> None:
    for series, cases in panel.cases.groupby("series", sort=False):
        style = look_of[str(series)]
        line = cases.sort_values(panel.axis)
        seconds = line["seconds"].to_numpy(dtype=float)
        reach = np.abs(line[["seconds_low", "seconds_high"]].to_numpy(dtype=float).T - seconds)
        axes.errorbar(
            line[panel.axis],
            seconds,
            yerr=reach,
            color=style.color,
            linestyle=style.line,
            linewidth=1.5,
            marker=style.marker,
            markersize=4.5,
            markerfacecolor=style.color if style.filled else "white",
            elinewidth=1,
            capsize=2,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    fixed_ticks(axes.xaxis, legible(sorted(panel.cases[panel.axis].unique())), lambda size: f"{size:g}")
    axes.set_xlabel(word(panel.axis))
    title = f"{panel.phase}\nat {panel.held}" if panel.held else panel.phase
    axes.set_title(title, fontsize=8, loc="left")
    axes.grid(visible=True)


def legible(sizes: Sequence[float]) -> list[float]:
    """Those of some rising sizes whose numbers have room on a log axis: both ends, and between them what fits."""
    room = math.log(sizes[-1] / sizes[0]) / MOST_NUMBERS
    kept = [sizes[0]]
    for size in sizes[1:-1]:
        if min(math.log(size / kept[-1]), math.log(sizes[-1] / size)) >= room:
            kept.append(size)
    return kept if len(sizes) == 1 else [*kept, sizes[-1]]


def _handle(style: Style) -> Line2D:
    face = style.color if style.filled else "white"
    return Line2D(
        [], [], color=style.color, linestyle=style.line, marker=style.marker, markersize=4.5, markerfacecolor=face
    )
