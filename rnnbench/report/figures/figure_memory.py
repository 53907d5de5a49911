"""Figure: the bytes that one call holds, from its start to its end; the cell and its reference on one scale."""

from collections.abc import Mapping
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnnbench.report.colors import INKS, Shade
from rnnbench.report.figures.drawing.canvas import short
from rnnbench.report.figures.drawing.marks import of_cell
from rnnbench.report.figures.drawing.sheet import Sheet, sheet
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration_tick, memory, memory_tick
from rnnbench.store.profiles import Profile

MIN_WIDTH = 0.13  # of the axis; narrower parts have no name
PARTS = ("forward", "backward", "optimizer")
WIDE, WIDE_OF_TWO = 7.6, 10.4  # inches


def render(profiles: Profile | Mapping[str, Profile], cell: str = "", *, ax: Axes | None = None) -> Figure | None:
    """The figure, or None if the profiler saw no block of memory.

    `profiles`: one call, or the calls of a cell and of its reference by their names, the cell first. `cell`: the name
    by which the cell has its colour. Raises ValueError for two calls and one `ax`.
    """
    given = {"": profiles} if isinstance(profiles, Profile) else dict(profiles)
    shown = {one_line(name): profile for name, profile in given.items() if len(profile.memory) > 1}
    if not shown:
        return None
    if ax is not None and len(shown) > 1:
        raise ValueError("two calls make two panels: draw each on axes of its own")
    with sheet(ax, (WIDE if len(shown) == 1 else WIDE_OF_TWO, 2.7), (1, len(shown)), sharey=True) as drawn:
        grid = drawn.grid[0]
        for number, (axes, (name, profile)) in enumerate(zip(grid, shown.items(), strict=True)):
            is_cell = name == next(iter(map(one_line, given)))
            _call(drawn, axes, profile, of_cell(cell) if is_cell and cell else INKS["ink"] if number else INKS["soft"])
            drawn.title(axes, short(name), pad=16 if name else None)
        top = max(size for profile in shown.values() for _, size in profile.memory)
        grid[0].set_ylim(0, top * 1.14)
        grid[0].yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        grid[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: memory_tick(value) if value else "0"))
        grid[0].set_ylabel("held by the call")
        label = "time since the call began, slowed by the profiler"
        if drawn.is_own:
            drawn.figure.supxlabel(label, fontsize=9)
        else:
            drawn.axes.set_xlabel(label)
    return drawn.figure


def _call(drawn: Sheet, axes: Axes, profile: Profile, shade: Shade) -> None:
    """Draw the line of one call, the background of its parts, and its highest point."""
    ink = drawn.ink
    color = ink.of(shade)
    seconds, sizes = zip(*profile.memory, strict=True)
    end, peak = max(seconds), max(range(len(sizes)), key=sizes.__getitem__)
    axes.step(seconds, sizes, where="post", color=color, linewidth=1.2)
    axes.fill_between(seconds, sizes, step="post", color=color, alpha=0.18, linewidth=0)
    starts = [*profile.memory_parts, ("end", end)]
    for (part, start), (_, until) in pairwise(starts):
        if part in PARTS and PARTS.index(part) % 2:
            axes.axvspan(start, until, color=ink.of(INKS["faint"]), linewidth=0, zorder=0)
        if until - start > MIN_WIDTH * end:
            axes.text(start, 1.01, f" {part}", transform=axes.get_xaxis_transform(), fontsize=drawn.small, va="bottom")
    is_left = seconds[peak] < 0.6 * end
    axes.plot(seconds[peak], sizes[peak], ".", color=ink.text, markersize=5)
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
