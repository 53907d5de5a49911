"""The drawing functions that all figures are made of: rows with intervals, lines over a size, and bars of time."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from rnnbench.report.drawing.marks import ON_AREAS, CellMark
from rnnbench.report.drawing.pictures import mark
from rnnbench.report.drawing.sheet import MIN_LETTERS, ROW, Sheet
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import ratio_tick

Label = Callable[[float], str]  # a number as it is written at an axis
MAX_NAME_LETTERS = 40  # letters of a name on a page
LONG_NAME = 26  # beside one narrow panel
SHORT_NAME = 18  # beside several
TWO = 2  # points, of a line that shows no trend
ROUND_STEPS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))  # of round numbers, from fine to coarse
WIDEST_SIZE = 0.26  # inches of the number of a size below an axis, with the room beside it
SHORT_SPAN = 3  # times the lower end: up to here, even steps are round
REFERENCE: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 1}  # the line at 1


def rows(
    canvas: Sheet,
    axes: Axes,
    names: Sequence[str],
    points: pd.DataFrame,
    *,
    thick: float = 1.0,
    are_cases: bool = False,
) -> None:
    """Draw marks with their intervals in rows, whose `names` stand on the left.

    `points`: a row for each mark, with its place `y` (0 is the first row), `value`, `low` and `high` (NaN where it is
    not known), its `shade`, and maybe its `marker`, whether it is `hollow`, and the shade of its interval (`ends`). Its
    index are rows of the summary if they `are_cases`, or `cases` has several rows of each mark.
    """
    defaults: dict[str, Any] = {"marker": "o", "hollow": False, "ends": points["shade"], "cases": points.index}
    points = points.assign(**{name: value for name, value in defaults.items() if name not in points})
    looks: Any = points.groupby(["shade", "marker", "hollow"], sort=False)
    for (shade, marker, hollow), marks in looks:
        color = canvas.ink(shade)
        (line,) = axes.plot(
            marks["value"], marks["y"], marker, color=color, markerfacecolor=canvas.paper if hollow else color,
            markersize=4 if canvas.is_narrow else 5.5, linestyle="", zorder=3,
        )  # fmt: skip
        if are_cases:
            mark(line, marks["cases"])
    with_interval = points.dropna(subset=["low", "high"])
    lows = with_interval["low"].clip(lower=1e-3 * with_interval["value"])  # a log axis has no place for 0
    colors = list(map(canvas.ink, with_interval["ends"]))
    intervals = axes.hlines(with_interval["y"], lows, with_interval["high"], colors=colors, linewidth=thick, zorder=4)
    if are_cases:
        mark(intervals, with_interval["cases"])
    high = axes.get_window_extent().height / canvas.figure.dpi
    is_tight = canvas.is_narrow if canvas.is_own else high < ROW * len(names)
    most = MAX_NAME_LETTERS
    if canvas.is_narrow:
        most = SHORT_NAME if canvas.grid.shape[1] > 1 else LONG_NAME
    labels = [short(one_line(name), most) for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=MIN_LETTERS if is_tight else None)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    if canvas.is_own:
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)


def texts_beside(canvas: Sheet, axes: Axes, texts: Sequence[str], heading: str = "") -> None:
    """Write a text right of each row, below the `heading`, if the figure is our own."""
    if not (texts and canvas.is_own):
        return
    beside = axes.twinx()
    beside.set_yticks(range(len(texts)), texts, fontsize=canvas.small)
    beside.set_ylim(axes.get_ylim())
    beside.tick_params(length=0)
    beside.spines[:].set_visible(False)
    beside.annotate(
        heading, (1, 1), (3.5, 3), xycoords="axes fraction", textcoords="offset points", ha="left", va="bottom",
        fontsize=canvas.small, color=canvas.ink("soft"),
    )  # fmt: skip


def ratio_axes(canvas: Sheet, values: Any, reference: str) -> None:
    """Make all x axes those of ratios to a reference, with room for `values`, and draw the line at 1."""
    for axes in filter(Axes.has_data, canvas.grid.flat):
        axes.axvline(1, color=canvas.ink(), **REFERENCE)
        log_ticks(canvas, axes.xaxis, *limits(values, around=1), ratio_tick)
    columns = canvas.grid.shape[1]
    for axes in canvas.lowest if columns < 3 else canvas.grid[-1, columns // 2 :][:1]:
        axes.set_xlabel(f"time over {reference}" if canvas.is_narrow else f"time over that of {reference} (log scale)")


def lines(
    canvas: Sheet,
    axes: Axes,
    points: pd.DataFrame,
    look_of: Mapping[str, CellMark],
    *,
    are_cases: bool = False,
) -> None:
    """Draw a line for each value of `points["line"]` over `x`, with `value`, `low` and `high`.

    A line between two points is dashed: it joins them and shows no trend.
    """
    for name, group in points.groupby("line", sort=False, observed=True):
        look = look_of[str(name)]
        color = canvas.ink(look.shade)
        values = group["value"].to_numpy(dtype=float)
        reach = np.nan_to_num(np.abs(group[["low", "high"]].to_numpy(dtype=float).T - values))
        line, *_ = axes.errorbar(
            group["x"], values, yerr=reach, color=color, marker=look.marker, markersize=3.5 if canvas.is_narrow else 5,
            markerfacecolor=color if look.filled else canvas.paper, linewidth=1.2, elinewidth=0.9,
            linestyle="--" if len(group) == TWO else "-",
        )  # fmt: skip
        if are_cases:
            mark(line, group.index)
    axes.grid(visible=True)


def bars(
    canvas: Sheet, axes: Axes, names: Sequence[str], parts: pd.DataFrame, label: Label, texts: Sequence[str] = ()
) -> None:
    """Draw horizontal bars of several parts, whose `names` stand on the left and `texts` at the right.

    `parts`: a row for each part of a bar: `y`, where it starts (`left`), its `width` and `color`, and maybe a `text`
    within it and a `hatch`.
    """
    longest = float((parts["left"] + parts["width"]).max())
    for part in parts.to_dict("records"):
        axes.barh(
            part["y"], part["width"], 0.6, part["left"], color=part["color"], edgecolor=canvas.paper, linewidth=0.6,
            hatch=part.get("hatch", ""),
        )  # fmt: skip
        if part.get("text") and abs(part["width"]) > 0.05 * longest:
            place = part["left"] + part["width"] / 2, part["y"]
            axes.text(*place, part["text"], ha="center", va="center", color=ON_AREAS, fontsize=canvas.small)
    nothing = pd.DataFrame(columns=["y", "value", "low", "high", "shade"])
    rows(canvas, axes, names, nothing)
    texts_beside(canvas, axes, texts)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(3 if canvas.is_narrow else 7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: label(round(value, 12))))


def key(canvas: Sheet, look: CellMark, name: str) -> Line2D:
    """Return the line of a legend for a mark."""
    color = canvas.ink(look.shade)
    face = color if look.filled else canvas.paper
    letters = SHORT_NAME + 4 if canvas.is_narrow else MAX_NAME_LETTERS
    return Line2D(
        [], [], color=color, linestyle="", marker=look.marker, markersize=4.5, markerfacecolor=face,
        label=short(one_line(name), letters),
    )  # fmt: skip


def among(sizes: Sequence[float], low: float, high: float, most: int) -> list[float]:
    """Select the sizes, in rising order, whose numbers have room on a log axis: both ends, and what fits between."""
    room = math.log(high / low) / most
    ticks = [sizes[0]]
    for size in sizes[1:-1]:
        if min(math.log(size / ticks[-1]), math.log(sizes[-1] / size)) >= room:
            ticks.append(size)
    return ticks if len(sizes) == 1 else [*ticks, sizes[-1]]


def log_ticks(canvas: Sheet, axis: Axis, low: float, high: float, label: Label, sizes: Sequence[float] = ()) -> None:
    """Make an axis logarithmic, from `low` to `high`, with plainly written numbers: round ones, or these `sizes`."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})  # type: ignore[attr-defined]
    most = 5
    if axis is axis.axes.xaxis:
        wide = canvas.width / canvas.grid.shape[1]
        inches = (0.45 if canvas.is_narrow else 0.7) * wide  # beside names and texts
        most = int((0.8 * wide - 0.3) / WIDEST_SIZE) if len(sizes) else min(7, int(inches / 0.5))
        most = max(2, most)
    fine = next((steps for steps in ROUND_STEPS if len(steps) * math.log10(high / low) < most + 0.5), ROUND_STEPS[-1])
    even = MaxNLocator(max(2, most - 1), steps=[1, 2, 5, 10])
    round_numbers = even if high < SHORT_SPAN * low else LogLocator(subs=fine, numticks=most)
    axis.set_major_locator(FixedLocator(among(sizes, low, high, most)) if len(sizes) else round_numbers)
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_locator(FixedLocator(list(sizes)) if len(sizes) else NullLocator())  # each size has its tick
    axis.set_minor_formatter(NullFormatter())


def size_ticks(canvas: Sheet, axes: Axes, sizes: Sequence[float]) -> None:
    """Make the x axis one of these sizes, in rising order."""
    if sizes[0] <= 0:  # such as a dropout of 0, which a log axis has no place for
        axes.xaxis.set_major_locator(FixedLocator(list(sizes), nbins=6))
        axes.xaxis.set_minor_locator(FixedLocator(list(sizes)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        log_ticks(canvas, axes.xaxis, sizes[0] / 1.15, sizes[-1] * 1.15, lambda size: f"{size:g}", sizes)


def limits(
    values: Any, *, around: float | None = None, margin: float = 1.08, least: float = 1.1
) -> tuple[float, float]:
    """Return the ends of a log axis that has room for all `values`, and for one more (`around`), if it is given."""
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    ends = [*numbers, *([] if around is None else [around])]
    low = min(ends)
    high = max(ends)
    wider = max(1.0, least * low / high) ** 0.5
    return low / wider / margin, high * wider * margin


def short(name: str, most: int = MAX_NAME_LETTERS) -> str:
    """Shorten a name to `most` letters. It loses letters before its end, since the end tells names apart."""
    head = most // 3
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"
