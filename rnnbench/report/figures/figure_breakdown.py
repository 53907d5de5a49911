"""Figure: where a call's time goes, a bar for each way to run a cell and one for the reference."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from rnnbench.analysis.breakdown import NAMES, Share, What, breakdown
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
MIN_WIDTH = 0.06  # of the axis, for a share to be written into its piece


def render(profiles: Mapping[str, Profile]) -> Figure | None:
    """`profiles` by the names that stand beside the bars; None where none worked."""
    taken = {one_line(name): breakdown(profile) for name, profile in profiles.items() if profile.works}
    if not taken:
        return None
    longest = max(sum(max(0.0, one.seconds.value) for one in shares) for shares in taken.values())
    with look():
        figure = Figure(figsize=(7.6, 0.9 + 0.42 * len(taken)), layout="constrained")
        axes = figure.subplots()
        for place, shares in enumerate(taken.values()):
            left = 0.0
            for one in shares:
                width = max(0.0, one.seconds.value)
                axes.barh(
                    place, width, 0.66, left, color=COLOR[one.what], hatch=HATCH[one.part], edgecolor="white", lw=0.4
                )
                if width > MIN_WIDTH * longest:
                    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
                    axes.text(left + width / 2, place, whole_percent(one.share), ha="center", va="center", bbox=box)
                left += width
            call = sum(one.seconds.value for one in shares)  # less than the pieces where one is below 0 by noise
            axes.text(left + 0.008 * longest, place, duration(call), va="center", weight="bold")
        axes.set_yticks(range(len(taken)), list(map(short, taken)))
        axes.invert_yaxis()
        axes.set_xlim(0, longest * 1.13)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration_tick(round(seconds, 12))))
        axes.set_xlabel("time per call")
        figure.legend(handles=_legend(taken), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _legend(taken: Mapping[str, list[Share]]) -> list[Patch]:
    there = {one.what for shares in taken.values() for one in shares}
    parts = {one.part for shares in taken.values() for one in shares}
    kinds = [Patch(color=color, label=NAMES[what]) for what, color in COLOR.items() if what in there]
    hatches = [Patch(facecolor="white", edgecolor="#555555", hatch=HATCH[part], label=part) for part in PARTS[1:]]
    return [*kinds, *(patch for patch in hatches if patch.get_label() in parts)]
