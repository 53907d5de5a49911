"""Figure: the ratio to the reference over batch x hidden for each length and series, with the number in each box."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnbench.report.colors import HEAT, ON_AREAS
from rnnbench.report.figures.drawing.canvas import fixed_ticks, mark, quiet, round_numbers, short
from rnnbench.report.figures.drawing.sheet import Sheet, refuse_several, sheet
from rnnbench.report.words.axes import SETTINGS, SIZES, say_all, swept, word
from rnnbench.report.words.pooled import pooled
from rnnbench.report.words.precision import undecided
from rnnbench.report.words.reference import is_reference, words
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import ratio_box, ratio_tick

SCALE = LinearSegmentedColormap.from_list("faster-slower", HEAT)
MAX_COLUMNS = 28  # of a row of panels, if no width is asked for
LINE = 1.25  # spacing of the lines of the column heads, in heights of their letters
GAPS = 0.12, 0.22  # between blocks of columns and of rows, in boxes
BOX = 0.42, 0.22  # inches
NARROWEST = 0.34  # inches of a box that its number fits
NAMES_WIDE = 2.1  # inches beside the boxes, for names of `LETTERS` letters
LETTER, LETTERS = 0.075, 20  # inches of a letter
SHORT = 15  # letters of a name where there is little room
NUMBER = 7.5  # points of numbers in boxes and of sizes
MAX_BOXES = 1_200  # more are not legible and take long to draw

Places = dict[tuple[Any, ...], float]


@dataclass(frozen=True)
class RatioPanel:
    """One panel of the figure: a title with the values that all its cases share, and these cases."""

    title: str
    cases: pd.DataFrame
    is_pooled: bool  # each box stands for several cases


@dataclass(frozen=True)
class Grid:
    """The axes that run down within each series and across, and the position of each row and column."""

    down: list[str]
    across: list[str]
    rows: Places  # by series and its values of `down`
    columns: Places  # by the values of `across`

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in boxes."""
        return max(self.columns.values()) + 1, max(self.rows.values()) + 1


def render(summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None) -> Figure | None:
    """The figure, or None if no case has a ratio or no size varies. Series without any ratio are left out.

    `width` in inches. Raises ValueError if there are several panels for one `ax`, or too many columns for the width.
    """
    frame = with_series(summary)
    own = frame[~is_reference(frame)]
    own = own[own.groupby("series")["ratio"].transform("count") > 0]
    if own.empty or not swept(own, SIZES):
        return None
    own, over = pooled(own, MAX_BOXES)
    longest = max(len(short(str(series))) for series in own["series"].unique())
    letters = SHORT if width is not None and width < 6 else longest
    names = NAMES_WIDE + LETTER * (min(letters, longest) - LETTERS)
    room = MAX_COLUMNS if width is None else max(1, int((width - names) / NARROWEST))
    down, across, apart = _axes(own, room)
    panels = _panels(own, apart, over)
    phases, columns = own["phase"].nunique(), len(own[across].drop_duplicates())
    if width is not None and columns > room:
        needed = names + NARROWEST * columns
        raise ValueError(
            f"{columns} columns need {needed:.1f} inches, and there are {width:g}: select fewer values of {across[-1]}"
        )
    refuse_several(ax, own, [*apart, "phase"], len(panels))
    beside = phases if columns * phases <= room and len(panels) % phases == 0 else 1
    lines = [panels[start : start + beside] for start in range(0, len(panels), beside)]
    layouts = [_layout(own, line, down, across) for line in lines]
    logs = np.log2(own["ratio"].to_numpy(dtype=float))
    span = float(min(np.nanmin(logs), -0.5)), float(max(np.nanmax(logs), 0.5))
    norm = Normalize(-max(-span[0], span[1]), max(-span[0], span[1]))
    wide, highs = layouts[0].size[0], [layout.size[1] for layout in layouts]
    size = (
        width or names + 0.2 + beside * (BOX[0] * max(wide, 4.3) + 0.4),
        sum(BOX[1] * high + 0.16 * len(across) + 0.5 for high in highs) + 0.8,
    )
    with sheet(ax, size, (len(lines), beside), sharey="row", height_ratios=highs) as drawn:
        if drawn.is_own:
            drawn.figure.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr, call-arg]
        for row, line, layout in zip(drawn.grid, lines, layouts, strict=True):
            for axes, panel in zip(row, line, strict=True):
                _heat_map(drawn, axes, panel, layout, norm)
            _name_columns(drawn, row[0], layout)
            _name_rows(row[0], layout, letters)
        _scale(drawn, norm, span, words(summary).name, int((size[0] - names) / LETTER))
    return drawn.figure


def _axes(own: pd.DataFrame, room: int) -> tuple[list[str], list[str], list[str]]:
    """The axes that run down and across, and those whose values get panels of their own.

    Batch runs down if hidden size varies too; other sizes run across. Each setting gets its own panels, and so does
    each size that would make too many columns.
    """
    sizes = swept(own, SIZES)
    down = ["batch_size"] if {"batch_size", "hidden_size"} <= set(sizes) else []
    across = [axis for axis in sizes if axis not in down]
    apart = swept(own, SETTINGS)
    while len(across) > 1 and len(own[across].drop_duplicates()) > room:
        apart.append(across.pop(0))
    return down, across, apart


def _panels(own: pd.DataFrame, apart: list[str], over: str) -> list[RatioPanel]:
    """The cases of each panel, with the values that they share as its title; `over`: what they are medians over."""
    panels = []
    for values, cases in own.groupby([*apart, "phase"], sort=False):
        title = [str(values[-1]), *filter(None, [say_all(apart, values[:-1]), over])]
        panels.append(RatioPanel(", ".join(title), cases, is_pooled=bool(over)))
    return panels


def _layout(own: pd.DataFrame, line: Sequence[RatioPanel], down: list[str], across: list[str]) -> Grid:
    """The layout of a line of panels: rows for its own cases, columns that all lines share."""
    order = {series: index for index, series in enumerate(own["series"].unique())}
    keys = set(_keys(pd.concat([panel.cases for panel in line]), ["series", *down]))
    rows = sorted(keys, key=lambda key: (order[key[0]], key[1:]))
    columns = sorted(set(_keys(own, across)))
    return Grid(down, across, _places(rows, GAPS[1]), _places(columns, GAPS[0]))


def _keys(frame: pd.DataFrame, columns: list[str]) -> Any:
    return frame[columns].itertuples(index=False, name=None)


def _places(keys: Sequence[tuple[Any, ...]], gap: float) -> Places:
    """Place the keys one after another, with a gap where the first of several values changes."""
    places: Places = {}
    position = 0.0
    for before, key in zip([keys[0], *keys[:-1]], keys, strict=True):
        position += gap if len(key) > 1 and before[0] != key[0] else 0
        places[key] = position
        position += 1
    return places


def _heat_map(drawn: Sheet, axes: Axes, panel: RatioPanel, layout: Grid, norm: Normalize) -> None:
    wide, high = layout.size
    shown = panel.cases[panel.cases["ratio"].notna()]
    rows = [layout.rows[key] for key in _keys(shown, ["series", *layout.down])]
    columns = [layout.columns[key] for key in _keys(shown, layout.across)]
    positions = list(zip(columns, rows, strict=True))
    empty = set(product(layout.columns.values(), layout.rows.values())) - set(positions)
    axes.add_collection(_boxes(sorted(empty), facecolor=drawn.ink.faint, edgecolor=drawn.ink.line, hatch="////", lw=0))
    colors = SCALE(norm(np.log2(shown["ratio"].to_numpy(dtype=float))))
    boxes = _boxes(positions, facecolor=colors, edgecolor=drawn.ink.paper, lw=0.8)
    axes.add_collection(boxes)
    if not panel.is_pooled:
        mark(boxes, shown.index)
    for index, position, case in zip(shown.index, positions, shown.to_dict("records"), strict=True):
        is_open = not panel.is_pooled and bool(undecided(case))
        text = f"({ratio_box(case['ratio'])})" if is_open else ratio_box(case["ratio"])
        number = axes.text(*position, text, ha="center", va="center", fontsize=NUMBER, color=ON_AREAS)
        number.set_in_layout(False)  # it is inside its box, and laying out many takes long
        if not panel.is_pooled:
            mark(number, [index])
    axes.xaxis.tick_top()
    heads = ["\n".join(_short(size) for size in sizes) for sizes in layout.columns]
    axes.set_xticks(list(layout.columns.values()), heads, fontsize=NUMBER, linespacing=LINE)
    axes.set_ylim(high - 0.5, -0.5)
    axes.set_xlim(-0.5, wide - 0.5)
    drawn.title(axes, panel.title, weight="bold")
    quiet(axes)
    axes.grid(visible=False)


def _boxes(positions: Sequence[tuple[float, float]], **style: Any) -> PatchCollection:
    """Boxes of size 1, each centred on a column and row."""
    return PatchCollection([Rectangle((column - 0.5, row - 0.5), 1, 1) for column, row in positions], **style)


def _name_columns(drawn: Sheet, axes: Axes, layout: Grid) -> None:
    """Name the lines of the column heads, at their left, and the axis that runs down."""
    heads = [word(axis) for axis in layout.across]
    heads[-1] += "".join(f" →  {word(axis)} ↓" for axis in layout.down)
    axes.annotate(
        "\n".join(heads),
        (0, 1),
        (-8, 3.5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=NUMBER,
        linespacing=LINE,
        color=drawn.ink.soft,
    )


def _name_rows(axes: Axes, layout: Grid, letters: int) -> None:
    """Name the series beside their rows. If sizes run down, they name the rows, and a series is named at its first."""
    if not layout.down:
        axes.set_yticks(list(layout.rows.values()), [short(str(series), letters) for series, *_ in layout.rows])
        return
    first = {key[0]: row for key, row in reversed(layout.rows.items())}
    for series, row in first.items():
        axes.annotate(
            short(str(series), letters), (0, row), (-32, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center",
        )  # fmt: skip
    labels = [", ".join(_short(size) for size in sizes) for _, *sizes in layout.rows]
    axes.set_yticks(list(layout.rows.values()), labels, fontsize=NUMBER)


def _scale(drawn: Sheet, norm: Normalize, span: tuple[float, float], name: str, letters: int) -> None:
    """Draw the colour scale, cut to the ratios shown: the colours are symmetric about 1, the ratios rarely are.

    `letters`: room for a line below it. The caller's axes keep their size: a label says what the colours are.
    """
    colors = textwrap.fill("(blue is faster, orange slower; hatched: not measured)", letters)
    about = f"{textwrap.fill(f'time over that of {name}', letters)}\n{colors}"
    if not drawn.is_own:
        drawn.axes.set_xlabel(about, fontsize=drawn.small)
        return
    panels = list(drawn.grid.flat)
    bar = drawn.figure.colorbar(
        ScalarMappable(norm, SCALE), ax=panels, location="bottom", aspect=40, shrink=0.8, pad=0.02
    )
    bar.ax.set_xlim(*span)
    ratios = round_numbers(2 ** span[0], 2 ** span[1], 5)
    fixed_ticks(bar.ax.xaxis, [math.log2(ratio) for ratio in ratios], lambda log: ratio_tick(round(2**log, 6)))
    bar.set_label(about, fontsize=drawn.small)


def _short(size: Any) -> str:
    """A size in a narrow column: 65536 as 64k."""
    return f"{size // 1024}k" if size >= 10_000 and size % 1024 == 0 else str(size)
