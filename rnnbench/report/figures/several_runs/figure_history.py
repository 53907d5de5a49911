"""Figure: the ratios of the most telling cases over all runs, small multiples with levels and changes."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.history import CaseHistory, History
from rnnbench.analysis.verdict import Q
from rnnbench.report import colors
from rnnbench.report.figures.drawing.canvas import log_axis, look
from rnnbench.report.figures.several_runs.panels import MAX_PANELS, REACH, panels
from rnnbench.report.words.case_names import Names
from rnnbench.report.words.changes import change
from rnnbench.report.words.run_names import when
from rnnbench.report.words.units import ratio_tick, round_percent
from rnnbench.store.records import Case

SLOWER, FASTER = colors.SLOWER.light, colors.FASTER.light
PLAIN, BAND = colors.INKS["soft"].light, colors.INKS["line"].light
MIN_SPAN = 1.1  # least ratio between the ends of the axis, so that 1% looks small


def render(history: History, names: Names) -> Figure | None:
    """The figure, or None if no case is in two runs."""
    chosen = telling(history)
    if not chosen:
        return None
    titles = [names.name(case) for case in chosen]
    with look():
        figure, every_axes = panels(titles, [when(info) for _, info in history.runs])
        for axes, case in zip(every_axes, chosen, strict=True):
            _panel(axes, [line for line in history.lines if line.case == case], history)
        figure.supylabel("time over that of the reference", fontsize=9)
        figure.legend(handles=_legend(history), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def telling(history: History) -> list[Case]:
    """The cases worth a panel: first those that changed, the largest change first; then those that vary most."""

    def rank(case: Case) -> tuple[float, float]:
        lines = [line for line in history.lines if line.case == case]
        changes = [abs(math.log(level_change.ratio.value)) for line in lines for level_change in line.significant]
        spread = max(float(np.std([math.log(point.ratio.value) for point in line.points])) for line in lines)
        return -max(changes, default=0.0), -spread

    by_case: dict[Case, list[CaseHistory]] = {}
    for line in history.lines:
        by_case.setdefault(line.case, []).append(line)
    changed = [case for case, lines in by_case.items() if any(line.significant for line in lines)]
    others = [] if len(changed) >= MAX_PANELS else [case for case in by_case if case not in set(changed)]
    return [*sorted(changed, key=rank), *sorted(others, key=rank)][:MAX_PANELS]


def _panel(axes: Axes, lines: Sequence[CaseHistory], history: History) -> None:
    marks: list[float] = []
    ends: list[float] = []
    for line in lines:
        runs = [point.run for point in line.points]
        ratios = np.array([(point.ratio.value, point.ratio.lower, point.ratio.upper) for point in line.points]).T
        reach = np.nan_to_num(np.abs(ratios[1:] - ratios[0]))
        axes.errorbar(runs, ratios[0], yerr=reach, fmt="o", color=PLAIN, markersize=3, elinewidth=0.8, zorder=3)
        marks += [*ratios[0]]
        ends += [*ratios[np.isfinite(ratios)]]
        _levels(axes, line, runs)
        for level_change in line.significant:
            color = SLOWER if level_change.ratio.value > 1 else FASTER
            x = (runs[level_change.after - 1] + runs[level_change.after]) / 2
            axes.axvline(x, color=color, linewidth=1.2, linestyle="--", zorder=2)
            axes.annotate(
                change(level_change.ratio.value),
                (x, 1),
                (2, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                weight="bold",
                fontsize=8,
                va="top",
            )
    _eras(axes, history)
    low, high = max(min(ends), min(marks) / REACH), min(max(ends), max(marks) * REACH)
    wider = max(1.06, (MIN_SPAN * low / high) ** 0.5)
    axes.set_yscale("log")
    axes.set_ylim(low / wider, high * wider)
    axes.set_xlim(-0.5, len(history.runs) - 0.5)
    log_axis(axes.yaxis, low / wider, high * wider, ratio_tick, most=5)
    axes.grid(axis="y")


def _levels(axes: Axes, line: CaseHistory, runs: Sequence[int]) -> None:
    """Draw each level as a line over its runs, with its interval as a band."""
    starts = [0, *(level_change.after for level_change in line.significant)]
    for start, end in zip(starts, [*starts[1:], len(runs)], strict=True):
        level, span = line.levels[start], [runs[start] - 0.4, runs[end - 1] + 0.4]
        axes.plot(span, [level.value, level.value], color="black", linewidth=1.3, zorder=2)
        if math.isfinite(level.lower):
            axes.fill_between(span, level.lower, level.upper, color=BAND, alpha=0.5, linewidth=0, zorder=1)


def _eras(axes: Axes, history: History) -> None:
    """Draw dotted lines between runs of different environments."""
    era_of = {run: number for number, era in enumerate(history.eras) for run in era.runs}
    for run in range(1, len(history.runs)):
        if era_of[run] != era_of[run - 1]:
            axes.axvline(run - 0.5, color=PLAIN, linewidth=1, linestyle=":", zorder=1)


def _legend(history: History) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=PLAIN, marker="o", markersize=3.5, linewidth=0.8, label="one run, 95% interval"),
        Patch(facecolor=BAND, alpha=0.5, label="level and its 95% interval"),
    ]
    if any(line.significant for line in history.lines):
        handles.append(
            Line2D(
                [],
                [],
                color=SLOWER,
                linestyle="--",
                linewidth=1.2,
                label=f"significant change (q = {round_percent(Q)})",
            )
        )
    if len(history.eras) > 1:
        handles.append(Line2D([], [], color=PLAIN, linestyle=":", label="another machine or software"))
    return handles
