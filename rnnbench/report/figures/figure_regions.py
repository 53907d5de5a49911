"""Figure: what binds each series by batch and hidden size, and where it takes as long as torch.nn, from fits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from rnnbench.analysis.scaling.crossing import along, middle
from rnnbench.analysis.scaling.fit import Fits, SizeFit, fits
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING
from rnnbench.analysis.scaling.terms import CAUSES, TimeCause
from rnnbench.report.colors import ON_AREAS, WORK, Shade
from rnnbench.report.figures.drawing.canvas import fixed_ticks, legible, short
from rnnbench.report.figures.drawing.sheet import MIN_LETTERS, Sheet, refuse_several, sheet
from rnnbench.report.words.axes import SETTINGS, say_all, several, word
from rnnbench.report.words.fit_names import named
from rnnbench.report.words.units import ratio_box

ACROSS, UP = "batch_size", "hidden_size"
SHADES: dict[TimeCause, Shade] = {
    "dispatch": WORK["overhead"],
    "arithmetic": WORK["products"],
    "memory": WORK["copies"],
}
SAID: dict[TimeCause, str] = {
    "dispatch": "dispatch: fixed costs of calls and steps",
    "arithmetic": "arithmetic: matrix products",
    "memory": "memory: weights, states, element by element",
}
PALE = 0.55  # opacity of the background over sizes that were not measured
NOTHING = 1e-15  # seconds
PANEL = 1.95, 1.25  # inches of a panel: as wide as it should be, and the least
AXIS_WIDE = 0.7  # inches, the numbers of the first panel
MAX_NUMBERS = 6  # along a side
MAX_LETTERS = 26  # of a line of a panel's title
STEPS = 28  # along each side of a panel


@dataclass(frozen=True)
class Map:
    """The fit of one series over batch and hidden size, with the other sizes held."""

    series: str
    fit: SizeFit
    reference: SizeFit | None
    sizes: pd.DataFrame  # columns `MOVING`, a row for each point of the grid
    across: np.ndarray
    up: np.ndarray


def render(
    summary: pd.DataFrame, *, ax: Axes | None = None, width: float | None = None, series: str | None = None
) -> Figure | None:
    """The figure, or None if no fitted series has three batch sizes and three hidden sizes.

    `width` in inches; `series`: the name of the only one to show. Raises ValueError if there are several panels for one
    `ax`.
    """
    rows = {
        title: shown
        for title, maps in _rows(summary, fits(summary)).items()
        if (shown := [map_ for map_ in maps if series in (None, map_.series)])
    }
    if not rows:
        return None
    names = list(dict.fromkeys(map_.series for maps in rows.values() for map_ in maps))
    if ax is not None and sum(map(len, rows.values())) > 1:
        if len(names) == 1:
            refuse_several(ax, summary, ["phase"], len(rows))
        raise ValueError(
            f"{len(names)} series make {len(names)} panels: choose one, such as series={names[-1]!r}, or leave ax out"
        )
    most = max(len(maps) for maps in rows.values())
    columns = most if width is None else max(1, min(most, int((width - AXIS_WIDE) / PANEL[1])))
    lines = [
        (title if not start else "", maps[start : start + columns])
        for title, maps in rows.items()
        for start in range(0, len(maps), columns)
    ]
    wide = width or max(5.2, AXIS_WIDE + PANEL[0] * columns)
    keys = 2 if wide >= 6 else 1
    high = 1.75 * len(lines) + 0.19 * -(-5 // keys) + 0.2
    with sheet(ax, (wide, high), (len(lines), columns)) as drawn:
        for line, (title, maps) in zip(drawn.grid, lines, strict=True):
            for axes in line[len(maps) :]:
                axes.axis("off")
            for column, (axes, map_) in enumerate(zip(line, maps, strict=False)):
                _panel(drawn, axes, map_)
                heading = f"{title if column == 0 else ''}\n{short(map_.series, MAX_LETTERS)}"
                drawn.title(axes, heading, fontsize=drawn.small)
            line[0].set_ylabel(word(UP))
        _label_sides(drawn.grid, [maps for _, maps in lines])
        handles = list(_legend(drawn))
        if drawn.is_own:
            drawn.figure.legend(handles=handles, loc="outside upper left", fontsize=drawn.small, ncols=keys)
        else:
            drawn.legend(handles, place="above")
    return drawn.figure


def _rows(summary: pd.DataFrame, fitted: Fits) -> dict[str, list[Map]]:
    """The maps of each family and phase, by the title above them. Of several settings, only the first is shown.

    A series is left out if its arithmetic is not known at all sizes of its map, for example because input and hidden
    size were only varied together.
    """
    varied = several(summary, SETTINGS)
    rows: dict[tuple[str, str], list[Map]] = {}
    for number, (family, series) in named(summary, fitted).items():
        fit = fitted.found[number]
        shown = rows.setdefault((family, fit.axes["phase"]), [])
        first = shown[0].fit if shown else fit
        is_mapped = all(len(fit.levels[axis]) >= MIN_VALUES for axis in (ACROSS, UP))
        if is_mapped and all(fit.axes[axis] == first.axes[axis] for axis in varied):
            map_ = _map(series, fit, fitted.reference_of(fit))
            shown += [map_] if np.isfinite(fit.seconds(map_.sizes)).all() else []
    return {_title(maps[0].fit, family, varied): maps for (family, _), maps in rows.items() if maps}


def _map(series: str, fit: SizeFit, reference: SizeFit | None) -> Map:
    held = middle(fit.levels)
    across, up = (along(axis, held, fit.levels, STEPS)[axis].to_numpy(dtype=float) for axis in (ACROSS, UP))
    sizes = pd.DataFrame({axis: np.full(len(across) * len(up), held[axis]) for axis in MOVING})
    sizes[ACROSS], sizes[UP] = (coordinates.ravel() for coordinates in np.meshgrid(across, up))
    return Map(series, fit, reference, sizes, across, up)


def _title(fit: SizeFit, family: str, varied: list[str]) -> str:
    """The title of a row: what all its maps share."""
    setting = say_all(varied, [fit.axes[axis] for axis in varied])
    length = say_all(["seq_len"], [middle(fit.levels)["seq_len"]])
    return ", ".join(filter(None, [f"{family} and its cells: {fit.axes['phase']}", length, setting]))


def _panel(drawn: Sheet, axes: Axes, map_: Map) -> None:
    shape = (len(map_.up), len(map_.across))
    causes = map_.fit.by_cause(map_.sizes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    # Memory is the background: a form that takes the larger of arithmetic and memory jumps from one to the other.
    axes.set_facecolor(drawn.ink.of(SHADES["memory"]))
    for cause in ("dispatch", "arithmetic"):
        others = np.max([causes[other] for other in CAUSES if other != cause], axis=0)
        ahead = np.log(np.maximum(causes[cause], NOTHING)) - np.log(np.maximum(others, NOTHING))
        if ahead.max() > 0:
            axes.contourf(
                map_.across,
                map_.up,
                ahead.reshape(shape),
                levels=[0, ahead.max() + 1],
                colors=[drawn.ink.of(SHADES[cause])],
                zorder=1,
            )
    if map_.reference is not None:
        logs = np.log(map_.fit.seconds(map_.sizes) / map_.reference.seconds(map_.sizes)).reshape(shape)
        if logs.min() < 0 < logs.max():
            line = axes.contour(
                map_.across, map_.up, logs, levels=[0.0], colors=drawn.ink.text, linewidths=1.6, zorder=3
            )
            line.set_path_effects([withStroke(linewidth=3.4, foreground=drawn.ink.paper)])
        _write_ratios(axes, map_.fit, map_.reference)
    points = map_.fit.sizes[[ACROSS, UP]].drop_duplicates()
    axes.plot(points[ACROSS], points[UP], linestyle="", marker=".", markersize=3, color=ON_AREAS)
    _frame(drawn, axes, map_)
    for axis, side, ends in ((axes.xaxis, ACROSS, axes.get_xlim()), (axes.yaxis, UP, axes.get_ylim())):
        fixed_ticks(axis, legible(map_.fit.levels[side], MAX_NUMBERS, ends), lambda size: f"{size:g}")
    axes.tick_params(labelsize=MIN_LETTERS)


def _write_ratios(axes: Axes, fit: SizeFit, reference: SizeFit) -> None:
    """Write the fitted ratio to torch.nn at the corners of the measured sizes."""
    corners = [(fit.levels[ACROSS][x], fit.levels[UP][y]) for x in (0, -1) for y in (0, -1)]
    corner_sizes = pd.DataFrame([{**middle(fit.levels), ACROSS: batch, UP: hidden} for batch, hidden in corners])
    values = fit.seconds(corner_sizes) / reference.seconds(corner_sizes)
    alignments = [(side, edge) for side in ("left", "right") for edge in ("bottom", "top")]
    for corner, value, (side, edge) in zip(corners, values, alignments, strict=True):
        away = (3 if side == "left" else -3, 3 if edge == "bottom" else -3)
        axes.annotate(
            f"{ratio_box(float(value))}×",
            corner,
            away,
            textcoords="offset points",
            ha=side,
            va=edge,
            fontsize=MIN_LETTERS,
            color=ON_AREAS,
        )


def _frame(drawn: Sheet, axes: Axes, map_: Map) -> None:
    """Draw a frame around the measured sizes, and call what lies outside predicted."""
    (left, *_, right), (low, *_, high) = map_.fit.levels[ACROSS], map_.fit.levels[UP]
    ends = (map_.across[0], map_.across[-1]), (map_.up[0], map_.up[-1])
    for first, last in ((ends[0][0], left), (right, ends[0][1])):
        axes.fill_between([first, last], *ends[1], color=drawn.ink.paper, alpha=PALE, linewidth=0, zorder=2)
    for first, last in ((ends[1][0], low), (high, ends[1][1])):
        axes.fill_between([left, right], first, last, color=drawn.ink.paper, alpha=PALE, linewidth=0, zorder=2)
    axes.add_patch(Rectangle((left, low), right - left, high - low, fill=False, linewidth=0.7, edgecolor=ON_AREAS))
    axes.annotate(
        "predicted", ((right * map_.across[-1]) ** 0.5, (low * high) ** 0.5), rotation=90, ha="center", va="center",
        fontsize=MIN_LETTERS, color=drawn.ink.text,
    )  # fmt: skip
    axes.set_xlim(*ends[0])
    axes.set_ylim(*ends[1])


def _label_sides(grid: np.ndarray, rows: Sequence[Sequence[Map]]) -> None:
    """Write sizes below the lowest panel of each column and left of each row; if they differ, at every panel."""
    are_alike = len({(map_.fit.levels[ACROSS], map_.fit.levels[UP]) for maps in rows for map_ in maps}) == 1
    for number, maps in enumerate(rows):
        for column, axes in enumerate(grid[number][: len(maps)]):
            is_lowest = not are_alike or all(len(below) <= column for below in rows[number + 1 :])
            axes.tick_params(labelbottom=is_lowest, labelleft=not are_alike or column == 0)
            if is_lowest:
                axes.set_xlabel(word(ACROSS), labelpad=1)


def _legend(drawn: Sheet) -> Iterator[Artist]:
    yield from (Patch(color=drawn.ink.of(SHADES[cause]), label=SAID[cause]) for cause in CAUSES)
    yield Line2D([], [], color=drawn.ink.text, linewidth=1.6, label="as long as torch.nn (numbers: ratio to it)")
    yield Line2D([], [], linestyle="", marker=".", markersize=4, color=drawn.ink.text, label="measured")
