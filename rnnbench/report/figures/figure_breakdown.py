"""Figure: where a call's time goes, with a bar for each way to run a cell and one for the reference."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from rnnbench.analysis.gaps.breakdown import NAMES, Share, What, breakdown
from rnnbench.report.figures.canvas import look, short
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.series import COLORS
from rnnbench.report.words.units import duration, duration_tick, whole_percent
from rnnbench.store.profiles import PARTS, Profile

COLOR: dict[What, str] = {
    "products": COLORS[0],
    "pointwise": COLORS[2],
    "copies": COLORS[4],
    "layer": COLORS[5],
    "other": COLORS[3],
    "views": COLORS[1],
    "overhead": "#bbbbbb",
    "gaps": "#bbbbbb",
    "whole": "#777777",
}
HATCH = {"forward": "", "backward": "///", "optimizer": "..."}
MIN_WIDTH = 0.06  # of the axis; narrower pieces have no number


def render(profiles: Mapping[str, Profile]) -> Figure | None:
    """The figure, or None if no profile worked. The keys of `profiles` are the names beside the bars."""
    taken = {one_line(name): breakdown(profile) for name, profile in profiles.items() if profile.works}
    if not taken:
        return None
    longest = max(sum(max(0.0, share.seconds.value) for share in shares) for shares in taken.values())
    with look():
        figure = Figure(figsize=(7.6, 0.9 + 0.42 * len(taken)), layout="constrained")
        axes = figure.subplots()
        for y, shares in enumerate(taken.values()):
            left = 0.0
            for share in shares:
                width = max(0.0, share.seconds.value)
                axes.barh(
                    y, width, 0.66, left, color=COLOR[share.what], hatch=HATCH[share.part], edgecolor="white", lw=0.4
                )
                if width > MIN_WIDTH * longest:
                    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
                    axes.text(left + width / 2, y, whole_percent(share.share), ha="center", va="center", bbox=box)
                left += width
            call = sum(share.seconds.value for share in shares)  # less than the pieces if one is below 0 by noise
            axes.text(left + 0.008 * longest, y, duration(call), va="center", weight="bold")
        axes.set_yticks(range(len(taken)), list(map(short, taken)))
        axes.invert_yaxis()
        axes.set_xlim(0, longest * 1.13)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration_tick(round(seconds, 12))))
        axes.set_xlabel("time per call")
        figure.legend(handles=_legend(taken), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _legend(taken: Mapping[str, list[Share]]) -> list[Patch]:
    shown = {share.what for shares in taken.values() for share in shares}
    parts = {share.part for shares in taken.values() for share in shares}
    kinds = [Patch(color=color, label=NAMES[what]) for what, color in COLOR.items() if what in shown]
    hatches = [Patch(facecolor="white", edgecolor="#555555", hatch=HATCH[part], label=part) for part in PARTS[1:]]
    return [*kinds, *(patch for patch in hatches if patch.get_label() in parts)]
