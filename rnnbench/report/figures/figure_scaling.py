"""Figure: how time per call grows with batch, length and hidden size, on log-log axes.

If a series can be fitted, its line is the fit and a band is the interval of a prediction. Both go beyond the measured
sizes as far as predictions do, on a grey background that is labelled as predicted.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.scaling.crossing import along
from rnnbench.analysis.scaling.fit import SERIES, SizeFit, fits
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING
from rnnbench.analysis.scaling.predict import interval
from rnnbench.report.figures.canvas import fixed_ticks, legible, log_axis, look, mark, short
from rnnbench.report.words.axes import SETTINGS, SIZES, say_all, swept, word
from rnnbench.report.words.series import Style, styles, with_series
from rnnbench.report.words.units import duration_tick

GROWING = ("batch_size", "seq_len", "hidden_size")
STEPS = 60  # along a curve
MAX_NUMBERS = 10  # that fit below a panel
TITLE_WIDTH = 40  # letters of a panel's title
PREDICTED = "#f0f0f0"  # background beyond the measured sizes


@dataclass(frozen=True)
class ScalingPanel:
    """The cases of one family and phase along one axis, with the others held."""

    family: str
    phase: str
    axis: str
    held: str
    cases: pd.DataFrame
    curves: Mapping[str, "Curve"]  # by series; only those that can be fitted


@dataclass(frozen=True)
class Curve:
    """A fit along one axis: the sizes, the fitted seconds and the ends of their intervals."""

    fit: SizeFit
    sizes: np.ndarray
    seconds: np.ndarray
    low: np.ndarray
    high: np.ndarray


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure, or None if no axis has two measured values with the others equal."""
    frame = with_series(summary)
    look_of = styles(frame)
    measured = frame[frame["seconds"].notna()]
    fitted = {tuple(fit.axes.values()): fit for fit in fits(measured).found}
    panels = [
        panel
        for (family, phase), cases in measured.groupby(["family", "phase"], sort=False)
        for panel in _panels(str(family), str(phase), cases, fitted)
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


def _places(panels: list[ScalingPanel]) -> tuple[list[dict[str, ScalingPanel]], list[str]]:
    """Rows of panels by column, and the columns: one for each axis if several grow, else one for each phase."""
    axes = [axis for axis in GROWING if any(panel.axis == axis for panel in panels)]
    by_axis = len(axes) > 1
    rows: dict[tuple[str, ...], dict[str, ScalingPanel]] = {}
    for panel in panels:
        row, column = ((panel.family, panel.phase), panel.axis) if by_axis else ((panel.family,), panel.phase)
        rows.setdefault(row, {})[column] = panel
    return list(rows.values()), axes if by_axis else list(dict.fromkeys(panel.phase for panel in panels))


def _row(line: Sequence[Axes], panels: Sequence[ScalingPanel | None], look_of: dict[str, Style]) -> None:
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
    seconds = np.concatenate([_drawn(panel) for _, panel in shown])
    low, high = np.nanmin(seconds) / 1.3, np.nanmax(seconds) * 1.3
    first.set_ylim(low, high)
    log_axis(first.yaxis, low, high, duration_tick, most=6)
    names = list(dict.fromkeys(str(name) for _, panel in shown for name in panel.cases["series"]))
    handles = [_handle(look_of[name]) for name in names]  # passed explicitly, so that any name will do
    line[-1].legend(handles, list(map(short, names)), loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=8)


def _panels(
    family: str, phase: str, cases: pd.DataFrame, fitted: Mapping[tuple[object, ...], SizeFit]
) -> Iterator[ScalingPanel]:
    """One panel for each axis that grows, with cases that differ in this axis alone.

    The other axes are held where this one has the most values; if several are equal, at the largest sizes.
    """
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
            yield ScalingPanel(family, phase, axis, say_all(others, held), best, _curves(axis, best, fitted))


def _curves(axis: str, cases: pd.DataFrame, fitted: Mapping[tuple[object, ...], SizeFit]) -> dict[str, Curve]:
    """The fits of a panel's series along its axis, at the other sizes of its cases."""
    curves = {}
    for series, rows in cases.groupby("series", sort=False):
        first = rows.iloc[0]
        fit = fitted.get(tuple(first[SERIES]))
        if fit is not None and len(fit.levels[axis]) >= MIN_VALUES:
            sizes = along(axis, {other: int(first[other]) for other in MOVING}, fit.levels, STEPS)
            curves[str(series)] = Curve(fit, sizes[axis].to_numpy(dtype=float), *interval(fit, sizes))
    return curves


def _drawn(panel: ScalingPanel) -> np.ndarray:
    """All times that a panel must have room for."""
    curves = [curve.seconds for curve in panel.curves.values()]
    return np.concatenate([panel.cases["seconds"].to_numpy(dtype=float), *curves])


def _draw(axes: Axes, panel: ScalingPanel, look_of: dict[str, Style]) -> None:
    for series, cases in panel.cases.groupby("series", sort=False):
        style = look_of[str(series)]
        line = cases.sort_values(panel.axis)
        seconds = line["seconds"].to_numpy(dtype=float)
        reach = np.abs(line[["seconds_low", "seconds_high"]].to_numpy(dtype=float).T - seconds)
        curve = panel.curves.get(str(series))
        if curve is not None:
            _draw_curve(axes, curve, style)
        drawn = axes.errorbar(
            line[panel.axis],
            seconds,
            yerr=reach,
            color=style.color,
            linestyle=style.line if curve is None else "",
            linewidth=1.5,
            marker=style.marker,
            markersize=4.5,
            markerfacecolor=style.color if style.filled else "white",
            elinewidth=1,
            capsize=2,
        )
        mark(drawn, line.index)
    axes.set_xscale("log")
    axes.set_yscale("log")
    if panel.curves:
        _mark_predicted(axes, panel)
    ends = axes.get_xlim() if panel.curves else None
    shown = legible(sorted(panel.cases[panel.axis].unique()), MAX_NUMBERS, ends)
    fixed_ticks(axes.xaxis, shown, lambda size: f"{size:g}")
    axes.set_xlabel(word(panel.axis))
    held = textwrap.fill(f"at {panel.held}", TITLE_WIDTH)
    title = f"{panel.phase}\n{held}" if panel.held else panel.phase
    axes.set_title(title, fontsize=8, loc="left")
    axes.grid(visible=True)


def _draw_curve(axes: Axes, curve: Curve, style: Style) -> None:
    axes.plot(curve.sizes, curve.seconds, color=style.color, linestyle=style.line, linewidth=1.3, zorder=2)
    axes.fill_between(curve.sizes, curve.low, curve.high, color=style.color, alpha=0.13, linewidth=0, zorder=1)


def _mark_predicted(axes: Axes, panel: ScalingPanel) -> None:
    """Draw a grey background beyond the measured sizes, and label it as predicted."""
    sizes = np.concatenate([curve.sizes for curve in panel.curves.values()])
    ends = [curve.fit.levels[panel.axis] for curve in panel.curves.values()]
    first, last = min(values[0] for values in ends), max(values[-1] for values in ends)
    axes.set_xlim(sizes.min() / 1.06, sizes.max() * 1.06)
    # Small sizes take little time, which leaves room for the word above; large sizes leave room below.
    for low, high, height, side in (
        (sizes.min() / 1.06, first, 0.97, "top"),
        (last, sizes.max() * 1.06, 0.03, "bottom"),
    ):
        if high > low * 1.1:
            axes.axvspan(low, high, color=PREDICTED, zorder=0, linewidth=0)
            axes.annotate(
                "predicted", ((low * high) ** 0.5, height), xycoords=axes.get_xaxis_transform(), rotation=90,
                ha="center", va=side, fontsize=7, color="#777777",
            )  # fmt: skip


def _handle(style: Style) -> Line2D:
    face = style.color if style.filled else "white"
    return Line2D(
        [], [], color=style.color, linestyle=style.line, marker=style.marker, markersize=4.5, markerfacecolor=face
    )
