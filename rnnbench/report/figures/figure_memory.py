"""Figure: the bytes that one call holds, from its start to its end."""

from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rnnbench.report.figures.canvas import look
from rnnbench.report.words.series import COLORS
from rnnbench.report.words.units import duration_tick, memory
from rnnbench.store.profiles import Profile

MIN_WIDTH = 0.09  # of the axis; narrower parts have no name
SHADES = {"forward": "#ffffff", "backward": "#eef3f7", "optimizer": "#f7f1e6"}


def render(profile: Profile) -> Figure | None:
    """The figure, or None if the profiler saw no block of memory."""
    if len(profile.memory) < 2:
        return None
    seconds, sizes = zip(*profile.memory, strict=True)
    end = max(seconds)
    peak = max(range(len(sizes)), key=sizes.__getitem__)
    is_left = seconds[peak] < 0.7 * end
    with look():
        figure = Figure(figsize=(7.6, 2.7), layout="constrained")
        axes = figure.subplots()
        axes.step(seconds, sizes, where="post", color=COLORS[0], linewidth=1.2)
        axes.fill_between(seconds, sizes, step="post", color=COLORS[0], alpha=0.15)
        starts = [*profile.memory_parts, ("end", end)]
        for (part, start), (_, until) in pairwise(starts):
            axes.axvspan(start, until, color=SHADES.get(part, "#ffffff"), zorder=0)
            if until - start > MIN_WIDTH * end:
                axes.text(start, 1.01, f" {part}", transform=axes.get_xaxis_transform(), fontsize=8, va="bottom")
        axes.annotate(
            f"{memory(sizes[peak])} at most",
            (seconds[peak], sizes[peak]),
            (6 if is_left else -6, -3),
            textcoords="offset points",
            ha="left" if is_left else "right",
            va="top",
            weight="bold",
        )
        axes.set_xlim(0, end)
        axes.set_ylim(0, max(sizes) * 1.08)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration_tick(round(value, 12))))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: memory(value) if value else "0"))
        axes.set_xlabel("time since the call began, slowed by the profiler")
        axes.set_ylabel("held by the call")
        axes.grid(axis="y")
    return figure
