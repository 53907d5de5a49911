"""Figure: where a call's time goes, with a bar for each way to run a cell and one for the reference."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from rnnbench.analysis.estimate import Estimate, estimate
from rnnbench.analysis.gaps.breakdown import NAMES, Share, What, breakdown
from rnnbench.report.colors import ON_AREAS, WORK, Shade
from rnnbench.report.figures.drawing.canvas import short
from rnnbench.report.figures.drawing.ink import Ink
from rnnbench.report.figures.drawing.sheet import MIN_LETTERS, Sheet, sheet
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration, duration_tick, whole_percent
from rnnbench.store.profiles import Profile

SHADES: dict[What, Shade] = {
    "products": WORK["products"],
    "pointwise": WORK["pointwise"],
    "copies": WORK["copies"],
    "layer": WORK["layer"],
    "other": WORK["other"],
    "views": WORK["other"],
    "overhead": WORK["overhead"],
    "gaps": WORK["overhead"],
    "whole": WORK["whole"],
}
BAR = 0.5  # height of a bar, in rows
PARTS_AT = 0.33  # rows below the middle of a bar: the lines below its parts
MIN_WIDTH = 0.045  # of the axis; narrower pieces have no number
MIN_PART = 0.09  # of the axis; narrower parts have no name


def render(profiles: Mapping[str, Profile], *, ax: Axes | None = None) -> Figure | None:
    """The figure, or None if no profile worked. The keys of `profiles` are the names beside the bars."""
    works = {one_line(name): profile for name, profile in profiles.items() if profile.works}
    if not works:
        return None
    taken = {name: breakdown(profile) for name, profile in works.items()}
    calls = {name: estimate(list(profile.times["call"])) for name, profile in works.items()}
    longest = max(call.value for call in calls.values())
    with sheet(ax, (7.6, 0.9 + 0.5 * len(taken))) as drawn:
        axes = drawn.axes
        for y, (name, shares) in enumerate(taken.items()):
            _bar(drawn, y, shares, longest)
            _total(drawn, y, calls[name], longest)
        axes.set_yticks(range(len(taken)), list(map(short, taken)))
        axes.set_ylim(len(taken) - 0.4, -0.5)
        axes.set_xlim(0, longest * 1.16)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration_tick(round(seconds, 12))))
        axes.set_xlabel("time per call")
        drawn.legend(_legend(taken, drawn.ink), 4, "above")
    return drawn.figure


def _bar(drawn: Sheet, y: int, shares: Sequence[Share], longest: float) -> None:
    """Draw the pieces of one call, and a line with a name below each of its parts if there are several."""
    axes, ink = drawn.axes, drawn.ink
    left = 0.0
    are_several = len({share.part for share in shares}) > 1
    for part, of_part in groupby(shares, lambda share: share.part):
        start = left
        for share in of_part:
            width = share.seconds.value
            axes.barh(y, width, BAR, left, color=ink.of(SHADES[share.what]), edgecolor=ink.paper, linewidth=0.6)
            if width > MIN_WIDTH * longest:
                text = whole_percent(share.share)
                axes.text(left + width / 2, y, text, ha="center", va="center", color=ON_AREAS, fontsize=drawn.small)
            left += width
        if are_several and left > start:
            below, gap = y + PARTS_AT, 0.002 * longest
            axes.plot([start + gap, left - gap], [below, below], color=ink.soft, linewidth=0.9, solid_capstyle="butt")
            if left - start > MIN_PART * longest:
                axes.text(start + gap, below + 0.03, part, fontsize=MIN_LETTERS, va="top", color=ink.soft)


def _total(drawn: Sheet, y: int, call: Estimate, longest: float) -> None:
    """Write the time of the call at the end of its bar, beyond the whisker of its interval."""
    axes, right = drawn.axes, call.value
    if call.has_interval:
        reach = [[max(0.0, call.value - call.lower)], [max(0.0, call.upper - call.value)]]
        axes.errorbar(call.value, y, xerr=reach, color=drawn.ink.text, elinewidth=0.9, capsize=2.5, capthick=0.9)
        right = call.value + reach[1][0]
    axes.text(right + 0.012 * longest, y, duration(call.value), va="center", weight="bold")


def _legend(taken: Mapping[str, Sequence[Share]], ink: Ink) -> list[Patch]:
    shown = {share.what for shares in taken.values() for share in shares}
    return [Patch(color=ink.of(shade), label=NAMES[what]) for what, shade in SHADES.items() if what in shown]
