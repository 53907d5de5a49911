"""The heat map: the ratio to the reference as a number in a coloured box, for each cell and size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnbench.analysis.summary import SHARED
from rnnbench.report.drawing.draw import MAX_NAME_LETTERS, SHORT_NAME, short
from rnnbench.report.drawing.marks import (
    HEAT_COLOURS,
    ON_AREAS,
)
from rnnbench.report.drawing.pictures import mark
from rnnbench.report.drawing.sheet import (
    COLUMN,
    MIN_LETTERS,
    PAGE,
    Ax,
    Inches,
    Sheet,
    most_rows,
    rows_high,
    sheet,
)
from rnnbench.report.facts import counted, is_coarse, is_shared, is_unclear, reference_name
from rnnbench.report.ratios import MANY, panels, with_room
from rnnbench.report.words.names import (
    SETTINGS,
    SIZES,
    is_reference,
    swept,
    with_series,
    with_short_cells,
    word,
)
from rnnbench.report.words.units import ratio_box

SCALE = LinearSegmentedColormap.from_list("faster-slower", HEAT_COLOURS)
# Inches of the narrowest box that its number fits.
BOX = 0.34
PAPER_BOX = 0.27
WIDEST_PANEL = 4.9  # inches; sizes that have no room in a panel of a page are pooled
LETTER_INCHES = 0.066  # inches of a letter of a name
# From the size that is pooled first to the one that is kept longest. Ratios depend most on batch and hidden size.
POOLED = ("samples", "workers", "output_size", "input_size", "seq_len", "batch_size", "num_layers", "hidden_size")


@dataclass(frozen=True)
class BoxGrid:
    """The rows and columns of a panel of boxes."""

    names: list[str]  # of the rows
    sizes: list[str]  # whose values stand above the columns
    keys: list[tuple[Any, ...]]  # of the columns: these values


def ratio_by_size(
    frame: pd.DataFrame, ax: Ax = None, *, width: Inches = None, height: Inches = None, is_apart: bool = False
) -> Figure | None:
    """Draw the ratio to the reference as a number in a coloured box, for each cell and size.

    A panel for each phase and setting. A number in brackets is unclear or coarse; a dashed box was measured on a shared
    core. Where there is no room for all sizes, the numbers are medians over some. `is_apart`: each panel is a figure of
    its own.
    """
    reference = reference_name(frame)
    frame = with_series(with_short_cells(frame))
    wide = width or PAGE
    selection = frame[~is_reference(frame)]
    selection = selection[selection.groupby("series")["ratio"].transform("count") > 0]
    if selection.empty or not swept(selection, SIZES):
        return None
    selection = with_room(selection, MANY if is_apart else most_rows(ax, wide, height))
    names = list(selection["series"].unique())
    is_narrow = ax is not None or wide < COLUMN
    letters = min(SHORT_NAME if is_narrow else MAX_NAME_LETTERS, max(map(len, names)))
    if is_apart:
        columns = selection.groupby("phase")[swept(selection, SIZES)].apply(lambda sizes: len(sizes.drop_duplicates()))
        wide = min(WIDEST_PANEL, max(wide, 0.2 + LETTER_INCHES * letters + PAPER_BOX * columns.max()))
    inches = wide - 0.2 - LETTER_INCHES * letters if ax is None else ax.get_window_extent().width / ax.figure.figure.dpi
    beside = 1 if is_apart else selection["phase"].nunique()  # panels
    most = max(1, int(inches / (PAPER_BOX if is_narrow else BOX) / beside))
    varied = swept(selection, SIZES)
    most_of_all = most * selection["phase"].nunique()
    selection, over = pooled(selection, lambda cases: columns_of(cases, varied) <= most_of_all)
    sizes = swept(selection, SIZES)
    by_panel, shape = panels(selection, swept(selection, SETTINGS), ax, wide, is_apart=is_apart)
    if (needed := columns_of(selection, sizes)) > most_of_all:
        raise ValueError(f"{needed} columns have no room: select fewer values of {sizes[-1]}, or give a larger width")
    # The phases of a suite may have other sizes, so each has columns of its own.
    keys_of = {
        phase: sorted(cases[sizes].drop_duplicates().itertuples(index=False, name=None)) or [()]
        for phase, cases in selection.groupby("phase", sort=False)
    }
    widths = [len(keys_of[cases["phase"].iloc[0]]) for _, cases in by_panel[: shape[1]]]
    farthest = max(0.5, float(np.abs(np.log2(selection["ratio"].astype(float))).max()))
    high = rows_high(len(names), wide, is_apart=is_apart) + 0.13 * len(sizes)
    with sheet(ax, wide, high * shape[0], shape, height, is_apart=is_apart, sharey=True, width_ratios=widths) as canvas:
        for axes, (title, cases) in zip(canvas.grid.flat, by_panel, strict=False):
            box_grid = BoxGrid(names, sizes, keys_of[cases["phase"].iloc[0]])
            _boxes(canvas, axes, cases, box_grid, Normalize(-farthest, farthest), are_cases=not over)
            axes.set_yticks(
                range(len(names)),
                [short(name, letters) for name in names],
                fontsize=MIN_LETTERS if canvas.is_narrow else None,
            )
            canvas.title(axes, title)
        for axes in canvas.grid[:, 0]:
            axes.annotate(
                "\n".join(map(word, sizes)), (0, 1), (-5, 3.5), xycoords="axes fraction", textcoords="offset points",
                ha="right", va="bottom", fontsize=MIN_LETTERS, linespacing=1.25, color=canvas.ink("soft"),
            )  # fmt: skip
        colors = _legend(selection, canvas, ", ".join(filter(None, [f"time over {reference}", over])), wide)
        for figure in canvas.figures:
            (figure.supxlabel if canvas.is_own else canvas.axes.set_xlabel)(colors, fontsize=canvas.small)
    return canvas.figure


def _legend(cases: pd.DataFrame, canvas: Sheet, about: str, wide: float) -> str:
    """Return the line below the boxes: what their numbers are `about`, and what the colours and dashes mean."""
    break_or_colon = "\n" if canvas.is_narrow else ": "
    colors = f"{about}{break_or_colon}blue is faster, orange slower"
    if is_shared(cases[cases["ratio"].notna()]).any():
        break_or_semicolon = "; " if wide >= PAGE else "\n"
        colors += f"{break_or_semicolon}dashed: {SHARED}"
    return colors


def pooled(cases: pd.DataFrame, fits: Callable[[pd.DataFrame], bool]) -> tuple[pd.DataFrame, str]:
    """Pool cases to median ratios over one size after the other until they fit. Returns these, and what was pooled.

    `cases` has the column `series` and no references. The first of the pooled rows stands for all, so a size that is
    pooled has one value; the intervals are lost.
    """
    sizes = swept(cases, SIZES)
    over = list[str]()
    while not fits(cases) and len(sizes) > 1:
        axis = min(sizes, key=POOLED.index)
        sizes.remove(axis)
        over.append(axis)
        keys = ["series", "phase", *SETTINGS, *(size for size in SIZES if size not in over)]
        cases = counted(cases, keys)
        medians = cases.groupby(keys, sort=False)["ratio"].transform("median")
        rows = cases.assign(ratio=medians, ratio_low=np.nan, ratio_high=np.nan, **{axis: cases[axis].iloc[0]})
        cases = rows.drop_duplicates(keys)
    return cases, f"median over {' and '.join(map(word, over))}" if over else ""


def columns_of(cases: pd.DataFrame, sizes: Sequence[str]) -> int:
    """Return how many columns the panels of all phases have beside each other: one for each combination of sizes."""
    return len(cases[["phase", *sizes]].drop_duplicates())


def _boxes(
    canvas: Sheet, axes: Axes, cases: pd.DataFrame, box_grid: BoxGrid, norm: Normalize, *, are_cases: bool
) -> None:
    """Draw a box with its number for each case, over hatches where nothing was measured, and the sizes on top."""
    names = box_grid.names
    sizes = box_grid.sizes
    keys = box_grid.keys
    nothing: dict[str, Any] = {"facecolor": canvas.ink("faint"), "edgecolor": canvas.ink("line"), "hatch": "////"}
    axes.add_patch(Rectangle((-0.5, -0.5), len(keys), len(names), linewidth=0, zorder=0, **nothing))
    with_ratio = cases[cases["ratio"].notna()]
    boxes = []
    for index, case in zip(with_ratio.index, with_ratio.to_dict("records"), strict=True):
        column = keys.index(tuple(case[size] for size in sizes))
        row = names.index(case["series"])
        boxes.append(Rectangle((column - 0.5, row - 0.5), 1, 1))
        is_doubtful = is_unclear(case) or is_coarse(case)
        text = f"({ratio_box(case['ratio'])})" if is_doubtful else ratio_box(case["ratio"])
        number = axes.text(column, row, text, ha="center", va="center", fontsize=MIN_LETTERS, color=ON_AREAS)
        number.set_in_layout(False)  # it is inside its box, and laying out many takes long
        if are_cases:
            mark(number, [index])
    colors = SCALE(norm(np.log2(with_ratio["ratio"].to_numpy(dtype=float))))
    areas = axes.add_collection(PatchCollection(boxes, facecolor=colors, edgecolor=canvas.paper, linewidth=0.8))
    frames = [
        Rectangle((box.get_x() + 0.08, box.get_y() + 0.12), 0.84, 0.76)
        for box, is_dashed in zip(boxes, is_shared(with_ratio), strict=True)
        if is_dashed
    ]
    axes.add_collection(
        PatchCollection(frames, facecolor="none", edgecolor=ON_AREAS, linewidth=0.7, linestyle=(0, (2, 2)))
    )
    if are_cases:
        mark(areas, with_ratio.index)
    for column in range(1, len(keys)):
        if len(sizes) > 1 and keys[column][0] != keys[column - 1][0]:
            axes.axvline(column - 0.5, color=canvas.paper, linewidth=4)
    # 65536 is 64k, which a narrow column has room for.
    heads = [
        "\n".join(f"{size // 1024}k" if size >= 10_000 and size % 1024 == 0 else str(size) for size in sizes_of)
        for sizes_of in keys
    ]
    axes.set_xticks(range(len(keys)), heads, fontsize=MIN_LETTERS, linespacing=1.25)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labeltop=True)
    axes.set(xlim=(-0.5, len(keys) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.spines[:].set_visible(False)
