"""Figure: the bytes that one call holds, from its start to its end; the cell and its reference on one scale."""

from collections.abc import Mapping
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnnbench.report.colors import INKS, Shade
from rnnbench.report.figures.canvas import look, short
from rnnbench.report.figures.drawing.marks import of_cell
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration_tick, memory, memory_tick
from rnnbench.store.profiles import Profile

MIN_WIDTH = 0.13  # of the axis; narrower parts have no name
PARTS = ("forward", "backward", "optimizer")
WIDE, WIDE_OF_TWO = 7.6, 10.4  # inches


def render(profiles: Profile | Mapping[str, Profile], cell: str = "") -> Figure | None:
    """The figure, or None if the profiler saw no block of memory.

    `profiles`: one call, or the calls of a cell and of its reference by their names, the cell first. `cell`: the name
    by which the cell has its colour.
    """
    given = {"": profiles} if isinstance(profiles, Profile) else dict(profiles)
    shown = {one_line(name): profile for name, profile in given.items() if len(profile.memory) > 1}
    if not shown:
        return None
    with look():
        figure = Figure(figsize=(WIDE if len(shown) == 1 else WIDE_OF_TWO, 2.7), layout="constrained")
        grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for number, (axes, (name, profile)) in enumerate(zip(grid, shown.items(), strict=True)):
            is_cell = name == next(iter(map(one_line, given)))
            _call(axes, profile, of_cell(cell) if is_cell and cell else INKS["ink"] if number else INKS["soft"])
            axes.set_title(short(name), loc="left", pad=16 if name else None)
        top = max(size for profile in shown.values() for _, size in profile.memory)
        grid[0].set_ylim(0, top * 1.14)
        grid[0].yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        grid[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: memory_tick(value) if value else "0"))
        grid[0].set_ylabel("held by the call")
        figure.supxlabel("time since the call began, slowed by the profiler", fontsize=9)
    return figure


def _call(axes: Axes, profile: Profile, shade: Shade) -> None:
    """Draw the line of one call, the background of its parts, and its highest point."""
    seconds, sizes = zip(*profile.memory, strict=True)
    end, peak = max(seconds), max(range(len(sizes)), key=sizes.__getitem__)
    axes.step(seconds, sizes, where="post", color=shade.light, linewidth=1.2)
    axes.fill_between(seconds, sizes, step="post", color=shade.light, alpha=0.18, linewidth=0)
    starts = [*profile.memory_parts, ("end", end)]
    for (part, start), (_, until) in pairwise(starts):
        if part in PARTS and PARTS.index(part) % 2:
            axes.axvspan(start, until, color=INKS["faint"].light, linewidth=0, zorder=0)
        if until - start > MIN_WIDTH * end:
            axes.text(start, 1.01, f" {part}", transform=axes.get_xaxis_transform(), fontsize=8, va="bottom")
    is_left = seconds[peak] < 0.6 * end
    axes.plot(seconds[peak], sizes[peak], ".", color=INKS["ink"].light, markersize=5)
    axes.annotate(
        f"{memory(sizes[peak])} at most",
        (seconds[peak], sizes[peak]),
        (5 if is_left else -5, 3),
        textcoords="offset points",
        ha="left" if is_left else "right",
        va="bottom",
        weight="bold",
    )
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration_tick(round(value, 12))))
    axes.grid(axis="y")
