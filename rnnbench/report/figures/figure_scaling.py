"""Figure: how the ratio to the reference grows with batch, length and hidden size, with one scale for all panels.

Each panel varies one size and holds the others twice: at their smallest and at their largest. Measured points are
joined by dots if there are two of them, since two points show no law, and by lines if there are more. If a series can
be fitted, its line is the fit and a band is the interval of a prediction; both go beyond the measured sizes as far as
predictions do. Without any ratio, the figure shows the time per call.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.scaling.fit import fits
from rnnbench.report.figures.drawing.canvas import fixed_ticks, legible, log_axis, mark, short
from rnnbench.report.figures.drawing.growth import (
    DOTS,
    GROWING,
    LINE,
    MARK_POINTS,
    Growth,
    GrowthPanel,
    GrowthValue,
    panels,
)
from rnnbench.report.figures.drawing.marks import MARKERS, CellMark, marks
from rnnbench.report.figures.drawing.sheet import MIN_LETTERS, Sheet, refuse_several, sheet
from rnnbench.report.words.axes import word
from rnnbench.report.words.reference import is_reference, words
from rnnbench.report.words.series import with_series
from rnnbench.report.words.units import duration_tick, ratio_tick

PANEL = 1.62, 1.4  # inches of a panel's axes
NARROWEST = 0.85  # inches of a panel
AXIS_WIDE, LEGEND_WIDE = 0.75, 1.75  # inches: the numbers of the first panel, and the names beside a row
MAX_BESIDE = 6  # panels in a row
LETTER = 0.056  # inches of a letter above a panel
MAX_NAME = 34  # letters of a heading or a name in the legend
MAX_NUMBERS = 5  # that fit below a panel


def render(
    summary: pd.DataFrame,
    *,
    ax: Axes | None = None,
    width: float | None = None,
    value: GrowthValue | None = None,
    along: str | None = None,
) -> Figure | None:
    """The figure, or None if no size has two measured values with the others equal.

    `width` in inches; `value`: the ratio (the default, if any is known) or the seconds of a call; `along`: the only
    size to vary. Raises ValueError if there are several panels for one `ax`.
    """
    frame = with_series(summary)
    value = value or ("ratio" if frame.loc[~is_reference(frame), "ratio"].notna().any() else "seconds")
    measured = frame[frame[value].notna()]
    is_of_all = value == "seconds" and measured["family"].nunique() > 1
    if is_of_all:
        measured = measured.assign(family="all cells")  # one panel: their times can be compared without a reference
    shown = [panel for panel in panels(measured, fits(measured), value) if along in (None, panel.axis)]
    if not shown:
        return None
    refuse_several(
        ax, measured, ["phase", "reference", "num_layers"], len({(panel.family, panel.phase) for panel in shown})
    )
    if ax is not None and len(shown) > 1:
        raise ValueError(f"{len(shown)} sizes grow: choose one, such as along={shown[0].axis!r}, or leave ax out")
    rows, is_beside = _places(shown, width)
    look_of = marks(measured)
    references = measured.loc[is_reference(measured), "series"].unique()
    for series, marker in zip(references[1:] if is_of_all else (), MARKERS, strict=False):
        look_of[series] = replace(look_of[series], marker=marker)
    names = list(dict.fromkeys(growth.series for panel in shown for growth in panel.growths))
    keys = [*(["reference"] if value == "ratio" else []), *_kinds(shown)]
    beside = AXIS_WIDE + (LEGEND_WIDE if is_beside else 0)
    wide = width or beside + PANEL[0] * len(rows[0])
    notes = _notes(rows, int((wide - beside) / len(rows[0]) / LETTER))
    columns = max(1, int(wide / 2.3))
    below = len(keys) + (0 if is_beside else len(names))
    height = sum(PANEL[1] + 0.75 + 0.14 * _lines(row) for row in notes) + 0.2 * -(-below // columns)
    with sheet(ax, (wide, height), (len(rows), len(rows[0])), sharey=True) as drawn:
        for line, row, row_notes in zip(drawn.grid, rows, notes, strict=True):
            _row(drawn, line, row, row_notes, look_of, value)
            if is_beside and drawn.is_own:
                own = [name for name in names if any(name in _series(panel) for panel in row)]
                handles = [_handle(drawn, look_of[name], name) for name in own]
                line[-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=drawn.small)
        _across(drawn, shown, value, words(summary).name)
        handles = [] if is_beside and drawn.is_own else [_handle(drawn, look_of[name], name) for name in names]
        drawn.legend([*handles, *_legend(drawn, keys, words(summary).name)], columns)
    return drawn.figure


def _series(panel: GrowthPanel | None) -> set[str]:
    return {growth.series for growth in panel.growths} if panel else set()


def _places(shown: Sequence[GrowthPanel], width: float | None) -> tuple[list[list[GrowthPanel | None]], bool]:
    """Rows of panels, and whether there is room for names beside them.

    A row is a family. Its phases stand beside each other if there is room, and so do the sizes of a phase.
    """
    axes = [axis for axis in GROWING if any(panel.axis == axis for panel in shown)]
    phases, families = (list(dict.fromkeys(getattr(panel, key) for panel in shown)) for key in ("phase", "family"))
    by_place = {(panel.family, panel.phase, panel.axis): panel for panel in shown}
    is_beside = width is None or width >= AXIS_WIDE + NARROWEST * len(axes) + LEGEND_WIDE
    room = MAX_BESIDE
    if width is not None:
        room = max(1, int((width - AXIS_WIDE - (LEGEND_WIDE if is_beside else 0)) / NARROWEST))
    keys = [[(phase, axis) for phase in phases for axis in axes]]
    if len(keys[0]) > room:
        keys = [[(phase, axis) for axis in axes] for phase in phases]
    if len(axes) > room:
        keys = [line[start : start + room] for line in keys for start in range(0, len(line), room)]
    rows = [[by_place.get((family, *key)) for key in line] for family in families for line in keys]
    rows = [row for row in rows if any(row)]
    columns = max(map(len, rows))
    return [row + [None] * (columns - len(row)) for row in rows], is_beside


def _notes(rows: Sequence[Sequence[GrowthPanel | None]], letters: int) -> list[list[str]]:
    """Where the other sizes of each panel are held, unless the panel above it says the same of the same size."""
    texts = [[_held(panel, letters) for panel in row] for row in rows]
    notes = [texts[0]]
    for number in range(1, len(rows)):
        pairs = zip(rows[number], rows[number - 1], texts[number], texts[number - 1], strict=True)
        notes.append(
            ["" if one and two and (one.axis, own) == (two.axis, above) else own for one, two, own, above in pairs]
        )
    return notes


def _held(panel: GrowthPanel | None, letters: int) -> str:
    ends = (("small", False), ("large", True)) if panel else ()
    held = [(name, panel.held(is_large=is_large)) for name, is_large in ends if panel]
    return "\n".join(textwrap.fill(f"{name}: {text}", letters) for name, text in held if text)


def _lines(notes: Sequence[str]) -> int:
    return max(note.count("\n") + bool(note) for note in notes)


def _row(
    drawn: Sheet,
    line: Sequence[Axes],
    row: Sequence[GrowthPanel | None],
    notes: Sequence[str],
    look_of: Mapping[str, CellMark],
    value: GrowthValue,
) -> None:
    phase = ""
    for axes, panel, note in zip(line, row, notes, strict=True):
        if panel is None:
            axes.axis("off")
            continue
        _draw(drawn, axes, panel, look_of, value)
        heading = ", ".join(filter(None, [panel.phase, panel.setting]))
        named = heading if phase else f"{short(panel.family, MAX_NAME)}: {heading}"
        drawn.title(axes, "" if panel.phase == phase else named, pad=5 + 9.5 * _lines(notes))
        phase = panel.phase
        if drawn.is_own:
            axes.annotate(
                note, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=MIN_LETTERS,
                color=drawn.ink.soft,
            )  # fmt: skip


def _draw(drawn: Sheet, axes: Axes, panel: GrowthPanel, look_of: Mapping[str, CellMark], value: GrowthValue) -> None:
    if value == "ratio":
        axes.axhline(1, color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    for growth in panel.growths:
        _line(drawn, axes, growth, look_of[growth.series], panel.axis, value)
    axes.set_xscale("log")
    axes.set_yscale("log")
    has_curves = any(growth.curve for growth in panel.growths)
    if has_curves:
        _mark_predicted(drawn, axes, panel)
    shown = legible(panel.sizes, MAX_NUMBERS, axes.get_xlim() if has_curves else None)
    fixed_ticks(axes.xaxis, shown, lambda size: f"{size:g}")
    axes.set_xlabel(word(panel.axis))
    axes.grid(visible=True)


def _line(drawn: Sheet, axes: Axes, growth: Growth, look: CellMark, axis: str, value: GrowthValue) -> None:
    """Draw one series: its marks, their intervals, and what joins them."""
    values = growth.cases[value].to_numpy(dtype=float)
    reach = np.abs(growth.cases[[f"{value}_low", f"{value}_high"]].to_numpy(dtype=float).T - values)
    curve, color, line = growth.curve, drawn.ink.of(look.shade), LINE[growth.is_large]
    if curve is not None:
        axes.plot(curve.sizes, curve.values, color=color, linestyle=line, linewidth=1.3, zorder=2)
        axes.fill_between(curve.sizes, curve.low, curve.high, color=color, alpha=0.09, linewidth=0, zorder=1)
    are_several = len(values) > 2
    drawn_points = axes.errorbar(
        growth.cases[axis],
        values,
        yerr=reach,
        color=color,
        linestyle="" if curve is not None else line if are_several else DOTS,
        linewidth=1.4 if are_several else 1.1,
        marker=look.marker,
        markersize=MARK_POINTS[growth.is_large],
        markerfacecolor=color if look.filled else drawn.ink.paper,
        elinewidth=0.9,
        zorder=3 if growth.is_large else 4,
    )
    mark(drawn_points, growth.cases.index)


def _across(drawn: Sheet, shown: Sequence[GrowthPanel], value: GrowthValue, reference: str) -> None:
    """The scale that all panels share. It has room for all marks, and for fits between the measured sizes."""
    growths = [(panel.axis, growth) for panel in shown for growth in panel.growths]
    parts = [growth.cases[value].to_numpy(dtype=float) for _, growth in growths]
    parts += [growth.curve.within(axis) for axis, growth in growths if growth.curve]
    values = np.concatenate([*parts, [1.0] if value == "ratio" else []])
    low, high = float(np.nanmin(values)) / 1.2, float(np.nanmax(values)) * 1.2
    drawn.axes.set_ylim(low, high)
    log_axis(drawn.axes.yaxis, low, high, ratio_tick if value == "ratio" else duration_tick, most=6)
    about = f"time over that of {reference}" if value == "ratio" else "time per call"
    if not drawn.is_own:
        drawn.axes.set_ylabel(about)
        return
    drawn.figure.supylabel(f"{about} (log scale)", fontsize=9)
    for line in drawn.grid:
        line[0].tick_params(labelleft=True)


def _mark_predicted(drawn: Sheet, axes: Axes, panel: GrowthPanel) -> None:
    """Draw a background beyond the measured sizes, and label it as predicted."""
    curves = [growth.curve for growth in panel.growths if growth.curve]
    sizes = np.concatenate([curve.sizes for curve in curves])
    ends = [curve.fit.levels[panel.axis] for curve in curves]
    first, last = min(values[0] for values in ends), max(values[-1] for values in ends)
    axes.set_xlim(sizes.min() / 1.06, sizes.max() * 1.06)
    for low, high in ((sizes.min() / 1.06, first), (last, sizes.max() * 1.06)):
        if high > low * 1.1:
            axes.axvspan(low, high, color=drawn.ink.faint, zorder=0, linewidth=0)
            axes.annotate(
                "predicted", ((low * high) ** 0.5, 0.97), xycoords=axes.get_xaxis_transform(), rotation=90,
                ha="center", va="top", fontsize=MIN_LETTERS, color=drawn.ink.text,
            )  # fmt: skip


def _handle(drawn: Sheet, look: CellMark, name: str) -> Line2D:
    color = drawn.ink.of(look.shade)
    return Line2D(
        [], [], color=color, linestyle="", marker=look.marker, markersize=4.5,
        markerfacecolor=color if look.filled else drawn.ink.paper, label=short(name, MAX_NAME),
    )  # fmt: skip


def _kinds(shown: Sequence[GrowthPanel]) -> Iterator[str]:
    """The kinds of marks and lines that occur, in the order of the legend."""
    growths = [growth for panel in shown for growth in panel.growths]
    if any(growth.is_large for growth in growths):
        yield from ("small", "large")
    if any(growth.curve is None and len(growth.cases) == 2 for growth in growths):
        yield "two"
    if any(growth.curve for growth in growths):
        yield "fit"


def _legend(drawn: Sheet, kinds: Sequence[str], reference: str) -> Iterator[Artist]:
    soft: dict[str, Any] = {"color": drawn.ink.soft}
    for kind in kinds:
        if kind == "reference":
            yield Line2D(
                [], [], color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), label=short(reference, MAX_NAME)
            )
        elif kind in ("small", "large"):
            is_large, name = kind == "large", "largest" if kind == "large" else "smallest"
            yield Line2D(
                [], [], **soft, marker="o", markersize=MARK_POINTS[is_large], linestyle=LINE[is_large], linewidth=1.4,
                label=f"other sizes at their {name}",
            )  # fmt: skip
        elif kind == "two":
            yield Line2D([], [], **soft, linestyle=DOTS, linewidth=1.1, label="two points joined: no law known")
        else:
            yield Patch(facecolor=drawn.ink.soft, alpha=0.25, label="fit with its 95% interval")
