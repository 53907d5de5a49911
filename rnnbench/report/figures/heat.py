"""The heat map of a run: the ratio to the reference as a number in a coloured box, for each series and each size."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnbench.report.colors import HEAT, ON_AREAS
from rnnbench.report.drawing.draw import MAX_NAME, SHORT_NAME, most_rows, rows_high, short
from rnnbench.report.drawing.marks import plain_and_fastest
from rnnbench.report.drawing.sheet import COLUMN, MIN_LETTERS, PAGE, Sheet, mark, sheet
from rnnbench.report.figures.runs import panels
from rnnbench.report.words.names import SETTINGS, SIZES, is_reference, swept, with_series, word
from rnnbench.report.words.ratios import undecided, words
from rnnbench.report.words.units import ratio_box

SCALE = LinearSegmentedColormap.from_list("faster-slower", HEAT)
BOX, PAPER_BOX = 0.34, 0.27  # inches of the narrowest box that its number fits
LETTER = 0.066  # inches of a letter of a name
# From the size that is pooled first to the one that is kept longest. Ratios depend most on batch and hidden size.
POOLED = ("samples", "workers", "output_size", "input_size", "seq_len", "batch_size", "num_layers", "hidden_size")


def ratio_by_size(
    summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None, height: float | None = None
) -> Figure | None:
    """Draw the ratio of each series at each size, in a panel for each phase; None if no ratio or no size varies.

    A number in brackets is undecided. Where there is no room for all sizes, numbers are medians over some of them.
    """
    frame, wide = with_series(summary), width or PAGE
    own = frame[~is_reference(frame)]
    own = own[own.groupby("series")["ratio"].transform("count") > 0]
    if own.empty or not (sizes := swept(own, SIZES)):
        return None
    settings = swept(own, SETTINGS)
    panels(own, settings, ax, wide)
    if own["series"].nunique() > (room := most_rows(ax, wide, height)):
        own = plain_and_fastest(own, "ratio", room)
    names = list(own["series"].unique())[:room]
    own = own[own["series"].isin(names)]
    is_narrow = ax is not None or wide < COLUMN
    letters = min(SHORT_NAME if is_narrow else MAX_NAME, max(map(len, names)))
    inches = wide - 0.2 - LETTER * letters if ax is None else ax.get_window_extent().width / ax.figure.figure.dpi
    most = max(1, int(inches / (PAPER_BOX if is_narrow else BOX) / own["phase"].nunique()))
    own, over = pooled(own, lambda cases: len(cases[sizes].drop_duplicates()) <= most)
    sizes = swept(own, SIZES)
    grid = panels(own, settings, ax, wide)
    columns = sorted(own[sizes].drop_duplicates().itertuples(index=False, name=None)) or [()]
    if len(columns) > most:
        raise ValueError(
            f"{len(columns)} columns have no room: select fewer values of {sizes[-1]}, or give a larger width"
        )
    farthest = max(0.5, float(np.abs(np.log2(own["ratio"].astype(float))).max()))
    high = rows_high(len(names), wide) + 0.13 * len(sizes)
    with sheet(ax, wide, high * len(grid), (len(grid), len(grid[0])), height, sharex=True, sharey=True) as drawn:
        for axes, (title, cases) in zip(drawn.grid.flat, [panel for line in grid for panel in line], strict=True):
            _boxes(drawn, axes, cases, names, sizes, columns, Normalize(-farthest, farthest), are_cases=not over)
            heads = ["\n".join(map(_short, key)) for key in columns]
            axes.xaxis.tick_top()
            axes.set_xticks(range(len(columns)), heads, fontsize=MIN_LETTERS, linespacing=1.25)
            texts = [short(str(name), letters) for name in names]
            axes.set_yticks(range(len(names)), texts, fontsize=MIN_LETTERS if drawn.is_narrow else None)
            axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(names) - 0.5, -0.5), visible=not cases.empty)
            axes.tick_params(length=0, labeltop=True)
            axes.spines[:].set_visible(False)
            drawn.title(axes, title)
        for axes in drawn.grid[:, 0]:
            axes.annotate(
                "\n".join(map(word, sizes)), (0, 1), (-5, 3.5), xycoords="axes fraction", textcoords="offset points",
                ha="right", va="bottom", fontsize=MIN_LETTERS, linespacing=1.25, color=drawn.ink.soft,
            )  # fmt: skip
        about = ", ".join(filter(None, [f"time over {words(summary).name}", over]))
        colors = f"{about}{chr(10) if drawn.is_narrow else ': '}blue is faster, orange slower"
        (drawn.figure.supxlabel if drawn.is_own else drawn.axes.set_xlabel)(colors, fontsize=drawn.small)
    return drawn.figure


def pooled(own: pd.DataFrame, fits: Callable[[pd.DataFrame], bool]) -> tuple[pd.DataFrame, str]:
    """Pool cases to median ratios over one size after the other until they fit. Returns these, and what was pooled.

    `own` has the column `series` and no references. The first of the pooled rows stands for all, so a size that is
    pooled has one value; the intervals are lost.
    """
    sizes, over = swept(own, SIZES), list[str]()
    while not fits(own) and len(sizes) > 1:
        axis = min(sizes, key=POOLED.index)
        sizes.remove(axis)
        over.append(axis)
        keys = ["series", "phase", *SETTINGS, *(size for size in SIZES if size not in over)]
        medians = own.groupby(keys, sort=False)["ratio"].transform("median")
        known = own.assign(ratio=medians, ratio_low=np.nan, ratio_high=np.nan, **{axis: own[axis].iloc[0]})
        own = known.drop_duplicates(keys)
    return own, f"median over {' and '.join(map(word, over))}" if over else ""


def _boxes(
    drawn: Sheet,
    axes: Axes,
    cases: pd.DataFrame,
    names: list[str],
    sizes: list[str],
    columns: list[tuple[Any, ...]],
    norm: Normalize,
    *,
    are_cases: bool,
) -> None:
    """Draw a box with its number for each case, and hatched boxes where nothing was measured."""
    shown = cases[cases["ratio"].notna()]
    keys = shown[sizes].itertuples(index=False, name=None)
    places = [(columns.index(key), names.index(name)) for key, name in zip(keys, shown["series"], strict=True)]
    empty = sorted(set(product(range(len(columns)), range(len(names)))) - set(places))

    def boxes(at: list[tuple[int, int]], **how: Any) -> PatchCollection:
        found = PatchCollection([Rectangle((column - 0.5, row - 0.5), 1, 1) for column, row in at], **how)
        axes.add_collection(found)
        return found

    boxes(empty, facecolor=drawn.ink.faint, edgecolor=drawn.ink.line, hatch="////", linewidth=0)
    colors = SCALE(norm(np.log2(shown["ratio"].to_numpy(dtype=float))))
    coloured = boxes(places, facecolor=colors, edgecolor=drawn.ink.paper, linewidth=0.8)
    if are_cases:
        mark(coloured, shown.index)
    for index, place, case in zip(shown.index, places, shown.to_dict("records"), strict=True):
        text = f"({ratio_box(case['ratio'])})" if undecided(case) else ratio_box(case["ratio"])
        number = axes.text(*place, text, ha="center", va="center", fontsize=MIN_LETTERS, color=ON_AREAS)
        number.set_in_layout(False)  # it is inside its box, and laying out many takes long
        if are_cases:
            mark(number, [index])
    for column in range(1, len(columns)):
        if len(sizes) > 1 and columns[column][0] != columns[column - 1][0]:
            axes.axvline(column - 0.5, color=drawn.ink.paper, linewidth=4)


def _short(size: Any) -> str:
    """Write a size in a narrow column: 65536 as 64k."""
    return f"{size // 1024}k" if size >= 10_000 and size % 1024 == 0 else str(size)
