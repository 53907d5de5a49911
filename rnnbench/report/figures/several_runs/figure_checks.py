"""Figure: the change of the most telling cases in each check, small multiples in the order of the checks."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.verdict import CHANGED
from rnnbench.report.colors import INKS, VERDICTS
from rnnbench.report.figures.drawing.canvas import log_axis, look
from rnnbench.report.figures.figure_changes import MARKER_OF
from rnnbench.report.figures.several_runs.panels import MAX_PANELS, REACH, panels
from rnnbench.report.words.changes import change
from rnnbench.report.words.units import round_percent

MIN_REACH = 2.0  # margins from the middle to the ends of the axis, at least


def render(frame: pd.DataFrame, times: Sequence[str]) -> Figure | None:
    """The figure, or None if no case has a change in two checks.

    `frame`: that of `rnnbench.report.verdicts.over_time.frame`; `times`: when each check began, as
    `2026-11-25 02:17`.
    """
    known = frame[np.isfinite(frame["change"]) & frame["verdict"].notna()]
    chosen = telling(known)
    if not chosen:
        return None
    by_case = [known[known["case"] == case] for case in chosen]
    with look():
        figure, every_axes = panels([str(rows["name"].iloc[-1]) for rows in by_case], times)
        for axes, rows in zip(every_axes, by_case, strict=True):
            _panel(axes, rows, len(times))
        figure.supylabel("change from base to head: slower above", fontsize=9)
        figure.legend(
            handles=_legend(known[known["case"].isin(chosen)]), loc="outside lower center", ncols=4, fontsize=8
        )
    return figure


def telling(known: pd.DataFrame) -> list[str]:
    """The cases worth a panel, the largest change first: those that regressed or improved come before the others."""
    size = np.log(known["change"]).abs()
    decided = size[known["verdict"].isin(CHANGED)].groupby(known["case"]).max()
    several = known["case"].value_counts()
    spread = size.groupby(known["case"]).max()
    others = spread.drop(decided.index)[lambda sizes: several[sizes.index] > 1]
    order = [*decided.sort_values(ascending=False).index, *others.sort_values(ascending=False).index]
    return [str(case) for case in order[:MAX_PANELS]]


def _panel(axes: Axes, rows: pd.DataFrame, checks: int) -> None:
    margin, changes = float(rows["margin"].max()), rows["change"].to_numpy()
    reach = max(margin * MIN_REACH, float(np.abs(np.log(changes)).max()) * REACH)
    low, high = math.exp(-reach), math.exp(reach)
    axes.axhspan(1 / (1 + margin), 1 + margin, color=INKS["grid"].light, zorder=0)
    axes.axhline(1, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    for verdict, of_verdict in rows.groupby("verdict"):
        places, color = of_verdict["check"].to_numpy(), VERDICTS[str(verdict)].light
        ends = of_verdict[["change_low", "change_high"]].clip(low / 2, high * 2)
        axes.vlines(places, ends["change_low"], ends["change_high"], color=color, linewidth=1.2, zorder=2)
        axes.plot(places, of_verdict["change"], MARKER_OF[str(verdict)], color=color, markersize=5, zorder=3)
    decided = rows[rows["verdict"].isin(CHANGED)]
    for place, ratio in zip(decided["check"], decided["change"], strict=True):
        axes.annotate(change(ratio), (place, ratio), (5, 2), textcoords="offset points", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_xlim(-0.5, checks - 0.5)
    log_axis(axes.yaxis, low, high, lambda ratio: change(ratio) or "0%", most=5)
    axes.grid(axis="y")


def _legend(shown: pd.DataFrame) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=VERDICTS[verdict].light, marker=marker, markersize=5, linewidth=1.2, label=verdict)
        for verdict, marker in MARKER_OF.items()
        if (shown["verdict"] == verdict).any()
    ]
    margins = sorted(set(shown["margin"]))
    label = f"margin ({round_percent(margins[0])})" if len(margins) == 1 else "margin"
    return [*handles, Patch(facecolor=INKS["grid"].light, label=label)]
