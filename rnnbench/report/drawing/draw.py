"""The three drawing functions of all figures: rows with intervals, lines over a size, and bars of time."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from rnnbench.report.drawing.marks import ON_AREAS, CellMark
from rnnbench.report.drawing.sheet import COLUMN, MIN_LETTERS, TALLEST, Sheet, mark
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import ratio_tick

Label = Callable[[float], str]  # a number as it is written at an axis

ROW, LOW_ROW = 0.24, 0.135  # inches of a row: on a page, and the least
AROUND = 0.85  # inches above and below the rows
MAX_NAME, LONG_NAME, SHORT_NAME = 40, 26, 18  # letters of a name: on a page, and beside one or more narrow panels
STEPS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))  # of round numbers, from fine to coarse
SHORT_SPAN = 3  # times the lower end: up to here, even steps are round
REFERENCE: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 1}  # the line at 1


def rows_high(rows: int, width: float) -> float:
    """Return the height in inches of a figure with so many rows, without its legend."""
    return min(AROUND + LOW_ROW * rows, TALLEST) if width < COLUMN else AROUND + ROW * rows


def most_rows(ax: Axes | None, width: float, height: float | None) -> int:
    """Return how many rows have room on the caller's axes, or in a figure of this width and height in inches."""
    if ax is not None:
        return max(1, int(ax.get_window_extent().height / ax.figure.figure.dpi / LOW_ROW))
    high = height or (TALLEST if width < COLUMN else math.inf)
    return max(1, int((high - AROUND - 0.25) / LOW_ROW)) if math.isfinite(high) else 10_000


def rows(
    drawn: Sheet,
    axes: Axes,
    names: Sequence[str],
    points: pd.DataFrame,
    *,
    texts: Sequence[str] = (),
    thick: float = 1.0,
    are_cases: bool = False,
) -> None:
    """Draw marks with their intervals in rows, whose `names` stand on the left.

    `points`: a row for each mark, with its place `y` (0 is the first row), `value`, `low` and `high` (NaN where it is
    not known), its `shade`, and maybe its `marker`, whether it is `hollow`, and the shade of its interval (`ends`). Its
    index are rows of the summary if they `are_cases`. `texts`: what stands right of each row of a figure of our own.
    """
    defaults: dict[str, Any] = {"marker": "o", "hollow": False, "ends": points["shade"]}
    points = points.assign(**{name: value for name, value in defaults.items() if name not in points})
    looks: Any = points.groupby(["shade", "marker", "hollow"], sort=False)
    for (shade, marker, hollow), own in looks:
        color = drawn.ink(shade)
        (line,) = axes.plot(
            own["value"], own["y"], marker, color=color, markerfacecolor=drawn.paper if hollow else color,
            markersize=4 if drawn.is_narrow else 5.5, linestyle="", zorder=3,
        )  # fmt: skip
        if are_cases:
            mark(line, own.index)
    known = points.dropna(subset=["low", "high"])
    lows = known["low"].clip(lower=1e-3 * known["value"])  # a log axis has no place for 0
    colors = list(map(drawn.ink, known["ends"]))
    intervals = axes.hlines(known["y"], lows, known["high"], colors=colors, linewidth=thick, zorder=4)
    if are_cases:
        mark(intervals, known.index)
    high = axes.get_window_extent().height / drawn.figure.dpi
    is_tight = drawn.is_narrow if drawn.is_own else high < ROW * len(names)
    most = (SHORT_NAME if drawn.grid.size > 1 else LONG_NAME) if drawn.is_narrow else MAX_NAME
    shown = [short(one_line(name), most) for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=MIN_LETTERS if is_tight else None)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    if drawn.is_own:
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    if texts and drawn.is_own:
        beside = axes.twinx()
        beside.set_yticks(range(len(texts)), texts, fontsize=drawn.small)
        beside.set_ylim(axes.get_ylim())
        beside.tick_params(length=0)
        beside.spines[:].set_visible(False)


def ratio_axes(drawn: Sheet, values: Any, reference: str) -> None:
    """Make all x axes those of ratios to a reference, with room for `values`, and draw the line at 1."""
    for axes in filter(Axes.has_data, drawn.grid.flat):
        axes.axvline(1, color=drawn.ink(), **REFERENCE)
        log_ticks(drawn, axes.xaxis, *limits(values, around=1), ratio_tick)
    columns = drawn.grid.shape[1]
    for axes in drawn.grid[-1] if columns < 3 else drawn.grid[-1, columns // 2 :][:1]:
        axes.set_xlabel(f"time over {reference}" if drawn.is_narrow else f"time over that of {reference} (log scale)")


def lines(
    drawn: Sheet,
    axes: Axes,
    points: pd.DataFrame,
    look_of: Mapping[str, CellMark],
    *,
    are_cases: bool = False,
) -> None:
    """Draw a line for each value of `points["line"]` over `x`, with `value`, `low` and `high`."""
    for name, own in points.groupby("line", sort=False, observed=True):
        look = look_of[str(name)]
        color, values = drawn.ink(look.shade), own["value"].to_numpy(dtype=float)
        reach = np.nan_to_num(np.abs(own[["low", "high"]].to_numpy(dtype=float).T - values))
        line = axes.errorbar(
            own["x"], values, yerr=reach, color=color, marker=look.marker, markersize=3.5 if drawn.is_narrow else 5,
            markerfacecolor=color if look.filled else drawn.paper, linewidth=1.2, elinewidth=0.9,
        )  # fmt: skip
        if are_cases:
            mark(line, own.index)
    axes.grid(visible=True)


def bars(
    drawn: Sheet, axes: Axes, names: Sequence[str], parts: pd.DataFrame, label: Label, texts: Sequence[str] = ()
) -> None:
    """Draw horizontal bars of several parts, whose `names` stand on the left and `texts` at the right.

    `parts`: a row for each part of a bar: `y`, where it starts (`left`), its `width` and `color`, and maybe a `text`
    within it and a `hatch`.
    """
    longest = float((parts["left"] + parts["width"]).max())
    for part in parts.to_dict("records"):
        axes.barh(
            part["y"], part["width"], 0.6, part["left"], color=part["color"], edgecolor=drawn.paper, linewidth=0.6,
            hatch=part.get("hatch", ""),
        )  # fmt: skip
        if part.get("text") and abs(part["width"]) > 0.05 * longest:
            place = part["left"] + part["width"] / 2, part["y"]
            axes.text(*place, part["text"], ha="center", va="center", color=ON_AREAS, fontsize=drawn.small)
    nothing = pd.DataFrame(columns=["y", "value", "low", "high", "shade"])
    rows(drawn, axes, names, nothing, texts=texts)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(3 if drawn.is_narrow else 7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: label(round(value, 12))))


def key(drawn: Sheet, look: CellMark, name: str) -> Line2D:
    """Return the line of a legend for a mark."""
    color = drawn.ink(look.shade)
    face = color if look.filled else drawn.paper
    letters = SHORT_NAME + 4 if drawn.is_narrow else MAX_NAME
    return Line2D(
        [], [], color=color, linestyle="", marker=look.marker, markersize=4.5, markerfacecolor=face,
        label=short(one_line(name), letters),
    )  # fmt: skip


def among(sizes: Sequence[float], low: float, high: float, most: int) -> list[float]:
    """Select the sizes, in rising order, whose numbers have room on a log axis: both ends, and what fits between."""
    room = math.log(high / low) / most
    kept = [sizes[0]]
    for size in sizes[1:-1]:
        if min(math.log(size / kept[-1]), math.log(sizes[-1] / size)) >= room:
            kept.append(size)
    return kept if len(sizes) == 1 else [*kept, sizes[-1]]


def log_ticks(drawn: Sheet, axis: Axis, low: float, high: float, label: Label, sizes: Sequence[float] = ()) -> None:
    """Make an axis logarithmic, from `low` to `high`, with plainly written numbers: round ones, or these `sizes`."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})  # type: ignore[attr-defined]
    most = 5
    if axis is axis.axes.xaxis:
        inches = (0.45 if drawn.is_narrow else 0.7) * drawn.width / drawn.grid.shape[1]  # beside names and texts
        most = max(2, min(7, int(inches / (0.3 if len(sizes) else 0.5))))
    fine = next((steps for steps in STEPS if len(steps) * math.log10(high / low) < most + 0.5), STEPS[-1])
    even = MaxNLocator(max(2, most - 1), steps=[1, 2, 5, 10])
    round_numbers = even if high < SHORT_SPAN * low else LogLocator(subs=fine, numticks=most)
    axis.set_major_locator(FixedLocator(among(sizes, low, high, most)) if len(sizes) else round_numbers)
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_locator(NullLocator())


def size_ticks(drawn: Sheet, axes: Axes, sizes: Sequence[float]) -> None:
    """Make the x axis one of these sizes, in rising order."""
    if sizes[0] <= 0:  # such as a dropout of 0, which a log axis has no place for
        axes.xaxis.set_major_locator(FixedLocator(list(sizes), nbins=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        log_ticks(drawn, axes.xaxis, sizes[0] / 1.15, sizes[-1] * 1.15, lambda size: f"{size:g}", sizes)


def limits(
    values: Any, *, around: float | None = None, margin: float = 1.08, least: float = 1.1
) -> tuple[float, float]:
    """Return the ends of a log axis that has room for all `values`, and for one more (`around`), if it is given."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known) & (known > 0)]
    ends = [*known, *([] if around is None else [around])]
    low, high = min(ends), max(ends)
    wider = max(1.0, least * low / high) ** 0.5
    return low / wider / margin, high * wider * margin


def short(name: str, most: int = MAX_NAME) -> str:
    """Shorten a name to `most` letters. It loses letters before its end, since the end tells names apart."""
    head = most // 3
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"
