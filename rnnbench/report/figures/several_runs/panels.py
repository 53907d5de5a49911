"""What figures of several runs share: a panel for each case, and the days of the runs below."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.report.figures.drawing.canvas import short

MAX_PANELS = 12
COLUMNS = 3
TITLE_WIDTH = 44  # letters
REACH = 1.5  # times the farthest mark: intervals are cut there, since longer ones would push all marks together


def panels(titles: Sequence[str], times: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with axes for each title.

    The runs stand at 0, 1, ... along x; `times`: when each began, as `2026-11-25 02:17`.
    """
    columns = min(COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(0.6 + 3.5 * columns, 0.9 + 1.85 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(titles) :]:
        axes.axis("off")
    for axes, title in zip(grid.flat, titles, strict=False):
        axes.set_title(_fold(title), loc="left", fontsize=8)
    last = len(times) - 1
    ticks = sorted({0, last // 2, last})
    for column in range(columns):
        lowest = max(row for row in range(rows) if row * columns + column < len(titles))
        axes = grid[lowest, column]
        axes.set_xticks(ticks, _dates([times[tick] for tick in ticks]), fontsize=7.5)
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[: len(titles)])


def _dates(times: Sequence[str]) -> list[str]:
    """The day of each run, or its time of day if all are of the same day."""
    days = [time[:10] for time in times]
    return days if len(set(days)) > 1 else [time[11:] for time in times]


def _fold(name: str) -> str:
    """A name in at most two lines."""
    if len(name) <= TITLE_WIDTH:
        return name
    head, _, rest = name.partition(", ")
    return f"{short(head, TITLE_WIDTH)}\n{short(rest, TITLE_WIDTH)}"
