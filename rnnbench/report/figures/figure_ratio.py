"""Figure: how far each cell is from its reference. One row per series, one mark per workload, coloured by a size."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from rnnbench.analysis.scaling.effects import explaining
from rnnbench.report.colors import INKS, Shade, level
from rnnbench.report.figures.drawing.canvas import beside, log_axis, mark, short
from rnnbench.report.figures.drawing.sheet import MIN_LETTERS, Sheet, refuse_several, sheet
from rnnbench.report.words.axes import SIZES, say, say_all, several, swept
from rnnbench.report.words.counts import known_ratios
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.reference import is_reference, words
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import half_width, ratio, ratio_tick
from rnnbench.store.records import LOADS, OF_DATA

SPREAD = 0.32  # marks of a row lie within this distance of its middle
MARGIN = 1.08  # room at the ends of the axis
REACH = 3  # times the farthest mark: intervals are cut there, since longer ones would push all marks together
FEW = 2  # marks in a row; a bar for the median would hide so few and say nothing new
MANY = 120  # marks in a row; for more, the range and the quartiles of each size are drawn instead
MAX_KEYS = 6  # sizes in the legend
MEDIAN_AT, WORST_AT = 38, 48  # points from the axes to the end of the medians and the start of the worst
LETTER = 0.068  # inches of a letter beside the axes
PANEL = 2.7, 1.3  # inches of a panel's axes: as wide as it should be, and the least
ROW, FOLDED_ROW = 0.27, 0.42  # inches: the height of a row; with its worst case below its marks
TICK = 0.5  # inches of a number below the axes
SHORT = 18  # letters of a name where there is little room


@dataclass(frozen=True)
class Rows:
    """What all panels share: their rows, and the size that colours the marks."""

    names: list[str]  # of the series
    limits: tuple[float, float]
    by: str | None  # the axis that explains most; None if no size varies
    values: list[Any]  # of that axis, from small to large
    other: list[str]  # the other axes that vary: they name the worst case
    inches: float = PANEL[1]  # the width of the axes
    is_folded: bool = True  # the worst case stands below the marks of its row, as there is no room beside them

    def shade(self, value: Any) -> Shade:
        """The colour of one value of the axis."""
        return level(self.values.index(value) / max(len(self.values) - 1, 1)) if self.by else INKS["soft"]

    def worst(self, cases: pd.DataFrame) -> str:
        """The highest ratio of a row, and at which sizes: `13.0× length 64, hidden 32`; empty for one case."""
        if len(cases) < 2:
            return ""
        case = cases.iloc[int(cases["ratio"].to_numpy().argmax())]
        return f"{ratio(case['ratio'])} {say_all(self.other, [case[axis] for axis in self.other])}".strip()


def render(
    summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None, noise_floor: float = math.nan
) -> Figure | None:
    """The figure, or None if no case has a ratio.

    `width` in inches. `noise_floor`: how far a case differs from itself (`analysis.runs.noise`), a band around 1.
    Raises ValueError if there are several panels for one `ax`.
    """
    frame = with_series(summary)
    compared = frame[~is_reference(frame) & frame["ratio"].notna()]
    if compared.empty:
        return None
    phases, context = list(compared["phase"].unique()), several(compared, CONTEXT)
    settings = list(dict.fromkeys(compared[context].itertuples(index=False, name=None))) or [()]
    panels = {key: cases for key, cases in compared.groupby(["phase", *context], sort=False) if len(cases)}
    refuse_several(ax, compared, ["phase", *context], len(panels))
    rows, columns, size = _fitted(_rows(compared), panels, len(phases), width)
    if ax is not None:
        rows = replace(rows, inches=PANEL[0], is_folded=True)
    shape = (len(settings), columns) if columns == len(phases) else (len(settings) * len(phases), 1)
    name = words(summary).name
    row = FOLDED_ROW if rows.is_folded else ROW
    height = (row * len(rows.names) + 0.75) * shape[0] + 0.45
    with sheet(ax, (size, height), shape, sharex=True, sharey=True) as drawn:
        keys = [(phase, *setting) for setting in settings for phase in phases]
        for axes, key in zip(drawn.grid.flat, keys, strict=True):
            cases = panels.get(key, compared.head(0))
            _panel(drawn, axes, cases, rows)
            _mark_reference(drawn, axes, name, rows.limits, noise_floor)
            drawn.title(axes, ", ".join(filter(None, [key[0], _say(context, key[1:], key[0])])), pad=16)
            axes.set_visible(not cases.empty)
        for line in drawn.grid:
            _name_rows(drawn, [axes for axes in line if axes.get_visible()], compared, rows)
        for column in drawn.grid.T:
            last = [axes for axes in column if axes.get_visible()][-1]
            last.set_xlabel(f"time over that of {name} (log scale)")
            last.tick_params(labelbottom=True)
        handles = list(_legend(drawn, panels, rows, noise_floor))
        drawn.legend(handles, max(1, min(len(handles), int(size / 1.2))))
    return drawn.figure


def _rows(compared: pd.DataFrame) -> Rows:
    ends = compared[["ratio", "ratio_low", "ratio_high"]]
    low, high = min(1.0, compared["ratio"].min()), max(1.0, compared["ratio"].max())  # of the marks
    limits = (
        max(min(1.0, ends.min().min()), low / REACH) / MARGIN,
        min(max(1.0, ends.max().max()), high * REACH) * MARGIN,
    )
    axes = [axis for axis in swept(compared, SIZES) if axis not in CONTEXT]
    by = explaining(compared, ["series", "phase", *several(compared, CONTEXT)], axes)
    values = sorted(compared[by].unique()) if by else []
    return Rows(list(compared["series"].unique()), limits, by, values, [axis for axis in axes if axis != by])


def _fitted(
    rows: Rows, panels: Mapping[Any, pd.DataFrame], phases: int, width: float | None
) -> tuple[Rows, int, float]:
    """The rows, the number of panels beside each other, and the width of the figure in inches."""
    texts = [rows.worst(cases) for panel in panels.values() for _, cases in panel.groupby("series", sort=False)]
    texts_wide = WORST_AT / 72 + LETTER * max(map(len, texts)) + 0.1
    names = LETTER * 1.1 * max(len(short(name)) for name in rows.names) + 0.2
    wide = width or names + phases * (PANEL[0] + texts_wide)
    columns = phases if names + phases * (PANEL[1] + texts_wide) <= wide else 1
    inches = (wide - names) / columns - texts_wide
    if inches >= PANEL[1]:
        return replace(rows, inches=inches, is_folded=False), columns, wide
    names = LETTER * max(len(short(name, SHORT)) for name in rows.names) + 0.2
    return replace(rows, inches=wide - names - MEDIAN_AT / 72), 1, wide


def _say(context: Sequence[str], setting: Sequence[Any], phase: str) -> str:
    """The settings that all cases of a panel share. A phase that loads nothing has no workers."""
    own = [(axis, value) for axis, value in zip(context, setting, strict=True) if phase in LOADS or axis not in OF_DATA]
    return say_all([axis for axis, _ in own], [value for _, value in own])


def _panel(drawn: Sheet, axes: Axes, cases: pd.DataFrame, rows: Rows) -> None:
    for y, series in enumerate(rows.names):
        own = cases[cases["series"] == series]
        if own.empty:
            continue
        own = own.sort_values(rows.by, kind="stable") if rows.by else own
        middle, spread = (y - 0.13, 0.7 * SPREAD) if rows.is_folded else (y, SPREAD)
        (_boxes if len(own) > MANY else _dots)(drawn, axes, middle, spread, own, rows)
        known = known_ratios(own)
        median = float(known["ratio"].median())
        if len(own) > FEW:
            ends = [middle - 1.2 * spread, middle + 1.2 * spread]
            axes.plot([median, median], ends, color=drawn.ink.text, linewidth=2, zorder=5)
        beside(axes, middle, MEDIAN_AT, ratio(median), ha="right", weight="bold", fontsize=drawn.small)
        if worst := rows.worst(known):
            soft: dict[str, Any] = {"color": drawn.ink.soft}
            if rows.is_folded:
                end = MEDIAN_AT if drawn.is_own else -4
                outline = [withStroke(linewidth=2, foreground=drawn.ink.paper)]  # the grid lies below
                how = soft | {"fontsize": MIN_LETTERS, "path_effects": outline}
                beside(axes, y + 0.3, end, f"worst {worst}", ha="right", **how)
            else:
                beside(axes, y, WORST_AT, worst, ha="left", fontsize=drawn.small, **soft)
    head = {"fontsize": drawn.small, "color": drawn.ink.soft}
    _above(axes, MEDIAN_AT, "median", ha="right", **head)
    if not rows.is_folded and cases.groupby("series").size().max() > 1:
        _above(axes, WORST_AT, "worst", ha="left", **head)
    axes.set_xscale("log")
    axes.set_xlim(*rows.limits)
    log_axis(axes.xaxis, *rows.limits, ratio_tick, most=max(3, min(7, int(rows.inches / TICK))))
    axes.grid(axis="x")
    drawn.quiet(axes)


def _above(axes: Axes, points: float, text: str, **how: Any) -> None:
    """Write the head of a column of text that stands `points` away from the axes."""
    axes.annotate(text, (1, 1), (points, 4), xycoords="axes fraction", textcoords="offset points", **how)


def _dots(drawn: Sheet, axes: Axes, y: float, spread: float, cases: pd.DataFrame, rows: Rows) -> None:
    """Draw one mark for each workload of a series, and its interval above it, which may be narrower than the mark."""
    heights = y + (np.linspace(-spread, spread, len(cases)) if len(cases) > 1 else np.zeros(1))
    of_row = pd.Series(heights, index=cases.index)
    for value, own in cases.groupby(rows.by, sort=True) if rows.by else [(None, cases)]:
        color = drawn.ink.of(rows.shade(value))
        (marks,) = axes.plot(
            own["ratio"], of_row[own.index], "o", color=color, markerfacecolor=(color, 0.6), markersize=5, zorder=3
        )
        mark(marks, own.index)
    reach = np.abs(cases[["ratio_low", "ratio_high"]].to_numpy(dtype=float).T - cases["ratio"].to_numpy(dtype=float))
    intervals = axes.errorbar(
        cases["ratio"], heights, xerr=reach, fmt="none", ecolor=drawn.ink.text, elinewidth=0.9, zorder=4
    )
    mark(intervals, cases.index)


def _boxes(drawn: Sheet, axes: Axes, y: float, spread: float, cases: pd.DataFrame, rows: Rows) -> None:
    """Draw the range of the workloads of each size as a line, and their middle half as a box."""
    groups = list(cases.groupby(rows.by, sort=True)) if rows.by else [(None, cases)]
    step = 2 * spread / len(groups)
    for index, (value, own) in enumerate(groups):
        height, color = y - spread + (index + 0.5) * step, drawn.ink.of(rows.shade(value))
        low, lower, upper, high = np.quantile(own["ratio"], (0, 0.25, 0.75, 1))
        axes.plot([low, high], [height, height], color=color, linewidth=1.1, solid_capstyle="butt")
        axes.barh(height, upper - lower, 0.8 * step, lower, color=color, linewidth=0, zorder=3)


def _mark_reference(
    drawn: Sheet, axes: Axes, name: str, limits: tuple[float, float], noise_floor: float = math.nan
) -> None:
    if math.isfinite(noise_floor):
        axes.axvspan(1 / (1 + noise_floor), 1 + noise_floor, color=drawn.ink.line, alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(1, color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    axes.annotate(
        name,
        (1, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if limits[0] * 1.3 > 1 else "center",
        fontsize=drawn.small,
    )


def _name_rows(drawn: Sheet, line: Sequence[Axes], compared: pd.DataFrame, rows: Rows) -> None:
    """Write row names on the left and draw a fine line between families."""
    if not line:
        return
    names = [short(name, SHORT) if rows.is_folded else short(name) for name in rows.names]
    line[0].set_yticks(range(len(names)), names, fontsize=drawn.small if rows.is_folded and drawn.is_own else None)
    line[0].tick_params(labelleft=True)
    line[0].set_ylim(len(names) - 0.5, -0.5)
    families = compared.drop_duplicates("series").set_index("series").loc[rows.names, "family"].to_numpy()
    for panel in line:
        for row in np.flatnonzero(families[1:] != families[:-1]):
            panel.axhline(row + 0.5, color=drawn.ink.line, linewidth=0.7)


def _legend(drawn: Sheet, panels: Mapping[Any, pd.DataFrame], rows: Rows, noise_floor: float) -> Iterator[Artist]:
    """The legend: the sizes that have a colour, then the other marks that are drawn."""
    sizes = pd.concat([cases.groupby("series").size() for cases in panels.values()])
    picked = np.unique(np.linspace(0, len(rows.values) - 1, min(len(rows.values), MAX_KEYS)).round().astype(int))
    for value in [rows.values[index] for index in picked] if rows.by else []:
        color = drawn.ink.of(rows.shade(value))
        yield Line2D(
            [], [], color=color, marker="o", markersize=5.5, markerfacecolor=(color, 0.6), linestyle="",
            label=say(str(rows.by), value),
        )  # fmt: skip
    if (sizes <= MANY).any():
        yield Line2D([], [], color=drawn.ink.text, linewidth=0.9, label="95% interval")
    if (sizes > MANY).any():
        yield Patch(facecolor=drawn.ink.soft, label="half of the workloads")
        yield Line2D([], [], color=drawn.ink.soft, linewidth=1.1, label="all workloads")
    if (sizes > FEW).any():
        yield Line2D(
            [], [], color=drawn.ink.text, marker="|", markersize=11, markeredgewidth=2, linestyle="", label="median"
        )
    if math.isfinite(noise_floor):
        yield Patch(facecolor=drawn.ink.line, alpha=0.6, label=f"noise floor {half_width(noise_floor)}")
