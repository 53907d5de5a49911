"""How figures are drawn: on axes of their own in the style of reports, or on the caller's axes in the caller's style.

A figure of its own is laid out by matplotlib (`layout="constrained"`), and the same figure gives the same bytes. All
figures are made of three drawing functions: rows with intervals, lines over a size, and bars of time.
"""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib import style as styles
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from rnnbench.report.drawing.marks import INKS, ON_AREAS, CellMark, Shade
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import ratio_tick

Ax: TypeAlias = Axes | None  # the caller's axes, in place of a figure of its own
Inches: TypeAlias = float | None  # of a figure of its own, if the caller chose them

PAGE = 9.0  # inches: the width of a figure on a page
COLUMN = 5.0  # inches; a narrower figure is for a column of a paper, with the smallest letters that print well
PHONE = 3.35  # inches: the width of a figure on a phone, which shows it some 1.4 times as large
TALLEST = 4.0  # inches: the height of such a figure, at most
PER_ROW = 3  # small panels beside each other
MIN_LETTERS = 7.0  # points
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INKS["soft"].light,
    "axes.axisbelow": True,
    "grid.color": INKS["grid"].light,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # a name may contain a $
    "svg.fonttype": "none",  # letters that can be searched, copied and read aloud
    "svg.hashsalt": "rnnbench",  # the same ids every time
    "pdf.fonttype": 42,  # letters that can be searched and edited
}
METADATA: dict[str, dict[str, None]] = {  # without the date and the versions, so that files have the same bytes
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "png": {"Software": None},
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}
DOTS_PER_INCH = 160
MARKED = re.compile(r'\bid="cases((?:-[\d.]+)+)"')
WRITTEN = re.compile(r">[^<>\n]*</text>")  # in which a viewer would show several spaces as one
FONTS = "'DejaVu Sans', Verdana, sans-serif"  # Verdana's letters are as wide
PAPER = INKS["card"].light
BRIGHT = 1.4  # sum of red, green and blue of a background that is as far from white as from black
Label = Callable[[float], str]  # a number as it is written at an axis
ROW = 0.24  # inches of a row on a page
LOW_ROW = 0.135  # the least
AROUND = 0.85  # inches above and below the rows
MAX_NAME = 40  # letters of a name on a page
LONG_NAME = 26  # beside one narrow panel
SHORT_NAME = 18  # beside several
TWO = 2  # points, of a line that shows no trend
ROUND_STEPS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))  # of round numbers, from fine to coarse
WIDEST_SIZE = 0.26  # inches of the number of a size below an axis, with the room beside it
SHORT_SPAN = 3  # times the lower end: up to here, even steps are round
REFERENCE: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 1}  # the line at 1


@contextmanager
def report_style(**more: Any) -> Iterator[None]:
    """Apply the style of reports, whatever style is in force."""
    with styles.context(["default", STYLE | more]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


class ReportFigure(Figure):
    """A figure that keeps the style of reports in a notebook and in every file."""

    def draw(self, renderer: Any) -> None:
        """Draw it with the style of reports."""
        with report_style():
            super().draw(renderer)

    def savefig(self, fname: Any, **how: Any) -> None:
        """Save it with the style of reports, as `matplotlib.figure.Figure.savefig` does."""
        kind = how.get("format") or Path(str(fname)).suffix.removeprefix(".") or "png"
        with report_style():
            super().savefig(fname, **{"metadata": METADATA.get(kind)} | how)

    def _repr_png_(self) -> bytes:
        return _saved(self, "png")


@dataclass(frozen=True)
class Picture:
    """A figure as SVG and as PNG, with its title and caption."""

    name: str  # of its files, without the extension
    title: str
    caption: str
    svg: str
    png: bytes
    narrow: str = ""  # the same as SVG for a phone, with its panels below each other; empty: it has no such form


def picture(name: str, title: str, caption: str, figure: Figure, narrow: Figure | None = None) -> Picture:
    """Draw a figure in both formats. This fixes its layout, which takes as long as drawing.

    `narrow`: what a page shows in its place on a phone.
    """
    engine: Any = figure.get_layout_engine()
    with report_style():
        engine.execute(figure)
    figure.set_layout_engine(None)
    return Picture(name, title, caption, svg(figure), png(figure), "" if narrow is None else svg(narrow))


def svg(figure: Figure) -> str:
    """Return a figure as SVG. Rows noted by `mark` are in attributes `data-cases`."""
    text = _saved(figure, "svg").decode().replace("'DejaVu Sans'", FONTS)
    text = WRITTEN.sub(lambda match: match[0].replace("  ", "\N{NO-BREAK SPACE} "), text)
    return MARKED.sub(lambda match: f'data-cases="{match[1][1:].replace("-", " ")}"', text)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    return _saved(figure, "png")


def _saved(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=DOTS_PER_INCH)
    return out.getvalue()


def mark(drawn: Artist, cases: Iterable[int | Sequence[int]]) -> None:
    """Note which rows of the summary an artist shows, in drawing order. Pages select by these rows.

    A mark that stands for several rows has the one first to which it leads.
    """
    rows = [[case] if isinstance(case, int | np.integer) else case for case in cases]
    drawn.set_gid("-".join(["cases", *(".".join(map(str, each)) for each in rows)]))


@dataclass(frozen=True)
class Sheet:
    """The axes to draw on, and what their style gives."""

    figure: Figure
    grid: np.ndarray  # of Axes: rows, columns
    paper: str  # the background, as `#rrggbb`
    is_own: bool  # not the caller's
    width: float  # inches, of the figure or of the caller's axes
    height: float | None  # inches, if the caller chose it
    tallest: float = math.inf  # inches, at most, of a figure whose height the caller did not choose

    def ink(self, shade: Shade | str = "ink") -> str:
        """Return the form of a colour, or of one of `INKS`, for the background; letters have the default."""
        known = INKS[shade] if isinstance(shade, str) else shade
        return known.dark if sum(to_rgb(self.paper)) < BRIGHT else known.light

    @property
    def axes(self) -> Axes:
        """The first of the axes."""
        first: Axes = self.grid[0, 0]
        return first

    @property
    def is_narrow(self) -> bool:
        """Whether there is room for the most important texts alone."""
        return self.width < COLUMN or not self.is_own

    @property
    def small(self) -> float:
        """Points of letters beside others."""
        return MIN_LETTERS if self.is_narrow else 8.0

    def title(self, axes: Axes, text: str) -> None:
        """Write a title above axes of our own. The caller knows what the caller's axes show."""
        if self.is_own:
            letters = int(72 * self.width / self.grid.shape[1] / (0.62 * self.small))
            axes.set_title(textwrap.fill(text, letters), loc="left")

    def label_panels(self, text: str) -> None:
        """Say what the y axes of all panels are: beside them, or above panels that stand below each other."""
        if self.grid.shape[1] > 1:
            self.figure.supylabel(text, fontsize=self.small)
        else:
            self.figure.suptitle(text, x=0.01, ha="left", fontsize=self.small, color=self.ink("soft"))

    def legend(self, handles: Sequence[Artist]) -> None:
        """Write the legend below a figure of our own, or above the caller's axes."""
        if not handles:
            return
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, min(len(handles), int(self.width * 72 / (0.56 * self.small * (longest + 5)))))
        how: dict[str, Any] = {"handles": handles, "ncols": columns, "fontsize": self.small, "columnspacing": 1.2}
        if not self.is_own:
            self.axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=1.4, borderaxespad=0.2, **how)
            return
        self.figure.legend(loc="outside lower center", handlelength=1.6, **how)
        if self.height is None:
            high = self.figure.get_figheight() + 0.1 + math.ceil(len(handles) / columns) * self.small * 1.6 / 72
            self.figure.set_figheight(min(high, self.tallest))


@contextmanager
def sheet(
    ax: Axes | None,
    width: float,
    high: float,
    shape: tuple[int, int] = (1, 1),
    height: float | None = None,
    *,
    is_phone: bool = False,
    **subplots: Any,
) -> Iterator[Sheet]:
    """Yield rows and columns of axes in a new figure, or the axes `ax`, in the style in force.

    `high`: inches of the figure without its legend, unless the caller chose a `height`; `is_phone`: it is for a page,
    which scrolls, so it may be as high as it needs.
    """
    if ax is not None:
        figure = ax.figure.figure
        behind = [color for color in (ax.get_facecolor(), ax.figure.get_facecolor()) if to_rgba(color)[3] > 0.5]
        paper = str(to_hex(behind[0])) if behind else PAPER
        yield Sheet(figure, np.array([[ax]]), paper, False, ax.get_window_extent().width / figure.dpi, height)
        return
    with report_style(**({"font.size": 7.5, "lines.markersize": 4} if width < COLUMN else {})):
        figure = ReportFigure(figsize=(width, height or high), layout="constrained")
        grid = figure.subplots(*shape, squeeze=False, **subplots)
        tallest = TALLEST if width < COLUMN and not is_phone else math.inf
        yield Sheet(figure, grid, PAPER, True, width, height, tallest)
        for axes in grid.flat:
            axes.set_visible(axes.has_data())


def small_panels(number: int, *, is_phone: bool = False) -> AbstractContextManager[Sheet]:
    """Return the sheet of so many small panels, three beside each other; `is_phone`: all below each other."""
    columns = 1 if is_phone else min(PER_ROW, number)
    shape = math.ceil(number / columns), columns
    return sheet(None, PHONE if is_phone else PAGE, 0.4 + 1.8 * shape[0], shape, is_phone=is_phone)


def refuse_several(ax: Axes | None, panels: int, axes: Sequence[str]) -> None:
    """Raise ValueError if there are several panels, by these axes, and one `ax` to draw them on."""
    if ax is not None and panels > 1:
        raise ValueError(f"the frame makes {panels} panels: select one {' and one '.join(axes)}, or leave ax out")


# The drawing functions


def rows_high(rows: int, width: float) -> float:
    """Return the height in inches of a figure with so many rows, without its legend."""
    return min(AROUND + LOW_ROW * rows, TALLEST) if width < COLUMN else AROUND + ROW * rows


def phone_high(rows: int) -> float:
    """Return the height in inches of a panel with so many rows in a figure for a phone."""
    return AROUND + 0.17 * rows


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
    heading: str = "",
    thick: float = 1.0,
    are_cases: bool = False,
) -> None:
    """Draw marks with their intervals in rows, whose `names` stand on the left.

    `points`: a row for each mark, with its place `y` (0 is the first row), `value`, `low` and `high` (NaN where it is
    not known), its `shade`, and maybe its `marker`, whether it is `hollow`, and the shade of its interval (`ends`). Its
    index are rows of the summary if they `are_cases`, or `cases` has several rows of each mark. `texts`: what stands
    right of each row of a figure of our own, below the `heading`.
    """
    defaults: dict[str, Any] = {"marker": "o", "hollow": False, "ends": points["shade"], "cases": points.index}
    points = points.assign(**{name: value for name, value in defaults.items() if name not in points})
    looks: Any = points.groupby(["shade", "marker", "hollow"], sort=False)
    for (shade, marker, hollow), own in looks:
        color = drawn.ink(shade)
        (line,) = axes.plot(
            own["value"], own["y"], marker, color=color, markerfacecolor=drawn.paper if hollow else color,
            markersize=4 if drawn.is_narrow else 5.5, linestyle="", zorder=3,
        )  # fmt: skip
        if are_cases:
            mark(line, own["cases"])
    known = points.dropna(subset=["low", "high"])
    lows = known["low"].clip(lower=1e-3 * known["value"])  # a log axis has no place for 0
    colors = list(map(drawn.ink, known["ends"]))
    intervals = axes.hlines(known["y"], lows, known["high"], colors=colors, linewidth=thick, zorder=4)
    if are_cases:
        mark(intervals, known["cases"])
    high = axes.get_window_extent().height / drawn.figure.dpi
    is_tight = drawn.is_narrow if drawn.is_own else high < ROW * len(names)
    most = (SHORT_NAME if drawn.grid.shape[1] > 1 else LONG_NAME) if drawn.is_narrow else MAX_NAME
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
        beside.annotate(
            heading, (1, 1), (3.5, 3), xycoords="axes fraction", textcoords="offset points", ha="left", va="bottom",
            fontsize=drawn.small, color=drawn.ink("soft"),
        )  # fmt: skip


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
    """Draw a line for each value of `points["line"]` over `x`, with `value`, `low` and `high`.

    A line between two points is dashed: it joins them and shows no trend.
    """
    for name, own in points.groupby("line", sort=False, observed=True):
        look = look_of[str(name)]
        color = drawn.ink(look.shade)
        values = own["value"].to_numpy(dtype=float)
        reach = np.nan_to_num(np.abs(own[["low", "high"]].to_numpy(dtype=float).T - values))
        line, *_ = axes.errorbar(
            own["x"], values, yerr=reach, color=color, marker=look.marker, markersize=3.5 if drawn.is_narrow else 5,
            markerfacecolor=color if look.filled else drawn.paper, linewidth=1.2, elinewidth=0.9,
            linestyle="--" if len(own) == TWO else "-",
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
        wide = drawn.width / drawn.grid.shape[1]
        inches = (0.45 if drawn.is_narrow else 0.7) * wide  # beside names and texts
        most = int((0.8 * wide - 0.3) / WIDEST_SIZE) if len(sizes) else min(7, int(inches / 0.5))
        most = max(2, most)
    fine = next((steps for steps in ROUND_STEPS if len(steps) * math.log10(high / low) < most + 0.5), ROUND_STEPS[-1])
    even = MaxNLocator(max(2, most - 1), steps=[1, 2, 5, 10])
    round_numbers = even if high < SHORT_SPAN * low else LogLocator(subs=fine, numticks=most)
    axis.set_major_locator(FixedLocator(among(sizes, low, high, most)) if len(sizes) else round_numbers)
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_locator(FixedLocator(list(sizes)) if len(sizes) else NullLocator())  # each size has its tick
    axis.set_minor_formatter(NullFormatter())


def size_ticks(drawn: Sheet, axes: Axes, sizes: Sequence[float]) -> None:
    """Make the x axis one of these sizes, in rising order."""
    if sizes[0] <= 0:  # such as a dropout of 0, which a log axis has no place for
        axes.xaxis.set_major_locator(FixedLocator(list(sizes), nbins=6))
        axes.xaxis.set_minor_locator(FixedLocator(list(sizes)))
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
    low = min(ends)
    high = max(ends)
    wider = max(1.0, least * low / high) ** 0.5
    return low / wider / margin, high * wider * margin


def short(name: str, most: int = MAX_NAME) -> str:
    """Shorten a name to `most` letters. It loses letters before its end, since the end tells names apart."""
    head = most // 3
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"
