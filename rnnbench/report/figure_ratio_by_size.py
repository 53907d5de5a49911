"""Figure: the ratio to the reference by cell and size, as heat maps with the number in each box."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnbench.report.axes import SETTINGS, SIZES, say_all, swept, word
from rnnbench.report.canvas import fixed_ticks, look, quiet, round_numbers
from rnnbench.report.pooled import pooled
from rnnbench.report.reference import is_reference, words
from rnnbench.report.series import with_series
from rnnbench.report.units import ratio_box, ratio_tick

SCALE = LinearSegmentedColormap.from_list("faster-slower", ["#0072B2", "#8cc4e6", "white", "#f2a679", "#D55E00"])
WIDEST = 28  # columns that a panel can hold with legible numbers
MOST_BOXES = 1_200  # nobody reads more, and they take long to draw
LINE = 11.5  # points from one line of the column heads to the next


@dataclass(frozen=True)
class Panel:
    """One heat map: the values that hold for all of it, and its cases."""

    title: str
    cases: pd.DataFrame


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure; None where no case has a ratio, or there is but one size. Series without any ratio are left out."""
    frame = with_series(summary)
    own = frame[~is_reference(frame)]
    own = own[own.groupby("series")["ratio"].transform("count") > 0]
    if own.empty or not swept(own, SIZES):
        return None
    own, over = pooled(own, MOST_BOXES)
    across, panels = _panels(own, over)
    rows = list(own["series"].unique())
    columns = sorted(set(own[across].itertuples(index=False, name=None)))
    phases = own["phase"].nunique()
    beside = phases if len(columns) * phases <= WIDEST and len(panels) % phases == 0 else 1
    logs = np.log2(own["ratio"].to_numpy(dtype=float))
    span = float(min(np.nanmin(logs), -0.5)), float(max(np.nanmax(logs), 0.5))
    norm = Normalize(-max(-span[0], span[1]), max(-span[0], span[1]))
    with look():
        lines = math.ceil(len(panels) / beside)
        width = 1.9 + beside * (0.36 * max(len(columns), 5) + 0.5)
        height = lines * (0.25 * len(rows) + 0.16 * len(across) + 0.5) + 0.8
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(lines, beside, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=True):
            _heat_map(axes, panel, rows, across, norm)
        for line in grid:
            _name_columns(line[0], across)
        _color_bar(figure, list(grid.flat), norm, span, words(summary).name)
    return figure


def _panels(own: pd.DataFrame, over: str) -> tuple[list[str], list[Panel]]:
    """What runs across the columns, and one panel for each value of the rest: settings, and sizes that are too many."""
    across = swept(own, SIZES)
    apart = swept(own, SETTINGS)
    while len(across) > 1 and len(own[across].drop_duplicates()) > WIDEST:
        apart.append(across.pop(0))
    panels = []
    keys = [*apart, "phase"]
    for values, cases in own.groupby(keys, sort=False):
        title = [str(values[-1]), *filter(None, [say_all(apart, values[:-1]), over])]
        panels.append(Panel(", ".join(title), cases))
    return across, panels


def _heat_map(axes: Axes, panel: Panel, rows: Sequence[str], across: list[str], norm: Normalize) -> None:
    columns = sorted(set(panel.cases[across].itertuples(index=False, name=None)))
    values = np.full((len(rows), len(columns)), np.nan)
    for series, ratio, *sizes in panel.cases[["series", "ratio", *across]].itertuples(index=False, name=None):
        values[rows.index(series), columns.index(tuple(sizes))] = ratio
    axes.add_patch(
        Rectangle((-0.5, -0.5), len(columns), len(rows), facecolor="#eeeeee", edgecolor="#c4c4c4", hatch="////", lw=0)
    )
    axes.pcolormesh(
        np.arange(len(columns) + 1) - 0.5,
        np.arange(len(rows) + 1) - 0.5,
        np.ma.masked_invalid(np.log2(values)),
        cmap=SCALE,
        norm=norm,
        edgecolors="white",
        linewidth=0.8,
    )
    for (row, column), ratio in np.ndenumerate(values):
        if np.isfinite(ratio):
            number = axes.text(column, row, ratio_box(ratio), ha="center", va="center", fontsize=7.5)
            number.set_in_layout(False)  # it is within its box, and laying out many takes long
    heads = ["\n".join(_short(size) for size in sizes) for sizes in columns]
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), heads, fontsize=7.5, linespacing=1.25)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_title(panel.title, loc="left", weight="bold")
    quiet(axes)


def _name_columns(axes: Axes, across: Sequence[str]) -> None:
    """What the lines of the column heads are, at their left."""
    heads = "\n".join(word(axis) for axis in across)
    axes.annotate(
        heads,
        (0, 1),
        (-8, 3.5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        linespacing=1.25,
        color="#555555",
    )


def _color_bar(figure: Figure, panels: list[Axes], norm: Normalize, span: tuple[float, float], name: str) -> None:
    """The scale, cut to the ratios that there are: colours are symmetric about 1, ratios seldom."""
    bar = figure.colorbar(ScalarMappable(norm, SCALE), ax=panels, location="bottom", aspect=50, shrink=0.6, pad=0.02)
    bar.ax.set_xlim(*span)
    ratios = round_numbers(2 ** span[0], 2 ** span[1], 7)
    fixed_ticks(bar.ax.xaxis, [math.log2(ratio) for ratio in ratios], lambda log: ratio_tick(round(2**log, 6)))
    bar.set_label(f"time over that of {name}\n(blue is faster, orange slower; hatched: not measured)", fontsize=8)


def _short(size: Any) -> str:
    """A size in a narrow column: 65536 as 64k."""
    return f"{size // 1024}k" if size >= 10_000 and size % 1024 == 0 else str(size)
