"""Figure: what binds each series by batch and hidden size, and where it takes as long as torch.nn, from fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from rnnbench.analysis.scaling.crossing import along, middle
from rnnbench.analysis.scaling.fit import Fits, SizeFit, fits
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING
from rnnbench.analysis.scaling.terms import CAUSES, Bound
from rnnbench.report.figures.canvas import fixed_ticks, legible, look, short
from rnnbench.report.words.axes import SETTINGS, say_all, several, word
from rnnbench.report.words.fit_names import named
from rnnbench.report.words.units import ratio_box

ACROSS, UP = "batch_size", "hidden_size"
COLORS: dict[Bound, str] = {"dispatch": "#a9cfe8", "arithmetic": "#f5c08b", "memory": "#a8d8b9"}
SAID: dict[Bound, str] = {
    "dispatch": "dispatch: fixed costs of calls and steps",
    "arithmetic": "arithmetic: matrix products",
    "memory": "memory: weights, states, element by element",
}
PALE = 0.5  # opacity of the white over sizes that were not measured
NOTHING = 1e-15  # seconds
MAX_NUMBERS = 6  # along a side
TITLE_WIDTH = 26  # letters of a panel's title
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


def render(summary: pd.DataFrame) -> Figure | None:
    """The figure, or None if no fitted series has three batch sizes and three hidden sizes."""
    fitted = fits(summary)
    rows = _rows(summary, fitted)
    if not rows:
        return None
    columns = max(len(maps) for maps in rows.values())
    with look():
        figure = Figure(figsize=(max(5.2, 0.7 + 1.95 * columns), 0.75 + 1.75 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (title, maps) in zip(grid, rows.items(), strict=True):
            for axes in line[len(maps) :]:
                axes.axis("off")
            for column, (axes, map_) in enumerate(zip(line, maps, strict=False)):
                _panel(axes, map_, f"{title if column == 0 else ''}\n{short(map_.series, TITLE_WIDTH)}")
            line[0].set_ylabel(word(UP))
        _label_sides(grid, list(rows.values()))
        _legend(figure)
    return figure


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


def _panel(axes: Axes, map_: Map, title: str) -> None:
    shape = (len(map_.up), len(map_.across))
    causes = map_.fit.by_cause(map_.sizes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    # Memory is the background: a form that takes the larger of arithmetic and memory jumps from one to the other.
    axes.set_facecolor(COLORS["memory"])
    for cause in ("dispatch", "arithmetic"):
        others = np.max([causes[other] for other in CAUSES if other != cause], axis=0)
        ahead = np.log(np.maximum(causes[cause], NOTHING)) - np.log(np.maximum(others, NOTHING))
        if ahead.max() > 0:
            axes.contourf(
                map_.across,
                map_.up,
                ahead.reshape(shape),
                levels=[0, ahead.max() + 1],
                colors=[COLORS[cause]],
                zorder=1,
            )
    if map_.reference is not None:
        logs = np.log(map_.fit.seconds(map_.sizes) / map_.reference.seconds(map_.sizes)).reshape(shape)
        if logs.min() < 0 < logs.max():
            axes.contour(map_.across, map_.up, logs, levels=[0.0], colors="black", linewidths=1.4, zorder=3)
        _write_ratios(axes, map_.fit, map_.reference)
    points = map_.fit.sizes[[ACROSS, UP]].drop_duplicates()
    axes.plot(points[ACROSS], points[UP], linestyle="", marker=".", markersize=3, color="#444444")
    _frame(axes, map_)
    for axis, side, ends in ((axes.xaxis, ACROSS, axes.get_xlim()), (axes.yaxis, UP, axes.get_ylim())):
        fixed_ticks(axis, legible(map_.fit.levels[side], MAX_NUMBERS, ends), lambda size: f"{size:g}")
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=8, loc="left")


def _write_ratios(axes: Axes, fit: SizeFit, reference: SizeFit) -> None:
    """Write the fitted ratio to torch.nn at the corners of the measured sizes."""
    corners = [(fit.levels[ACROSS][x], fit.levels[UP][y]) for x in (0, -1) for y in (0, -1)]
    corner_sizes = pd.DataFrame([{**middle(fit.levels), ACROSS: batch, UP: hidden} for batch, hidden in corners])
    values = fit.seconds(corner_sizes) / reference.seconds(corner_sizes)
    alignments = [(side, edge) for side in ("left", "right") for edge in ("bottom", "top")]
    for corner, value, (side, edge) in zip(corners, values, alignments, strict=True):
        away = (3 if side == "left" else -3, 3 if edge == "bottom" else -3)
        axes.annotate(
            f"{ratio_box(float(value))}×", corner, away, textcoords="offset points", ha=side, va=edge, fontsize=6.5
        )


def _frame(axes: Axes, map_: Map) -> None:
    """Draw a frame around the measured sizes, and call what lies outside predicted."""
    (left, *_, right), (low, *_, high) = map_.fit.levels[ACROSS], map_.fit.levels[UP]
    ends = (map_.across[0], map_.across[-1]), (map_.up[0], map_.up[-1])
    for first, last in ((ends[0][0], left), (right, ends[0][1])):
        axes.fill_between([first, last], *ends[1], color="white", alpha=PALE, linewidth=0, zorder=2)
    for first, last in ((ends[1][0], low), (high, ends[1][1])):
        axes.fill_between([left, right], first, last, color="white", alpha=PALE, linewidth=0, zorder=2)
    axes.add_patch(Rectangle((left, low), right - left, high - low, fill=False, linewidth=0.7, edgecolor="#555555"))
    axes.annotate(
        "predicted", ((right * map_.across[-1]) ** 0.5, (low * high) ** 0.5), rotation=90, ha="center", va="center",
        fontsize=6.5, color="#555555",
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


def _legend(figure: Figure) -> None:
    handles = [
        *(Patch(color=COLORS[cause], label=SAID[cause]) for cause in CAUSES),
        Line2D([], [], color="black", linewidth=1.4, label="as long as torch.nn (numbers: ratio to it)"),
        Line2D([], [], linestyle="", marker=".", markersize=4, color="#444444", label="measured"),
    ]
    figure.legend(handles=handles, loc="outside upper left", fontsize=7.5, ncols=2)
