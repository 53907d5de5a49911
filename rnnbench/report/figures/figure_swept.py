"""Figure: the ratio of live modules to their reference over the size that was swept at most values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.report.figures.canvas import fixed_ticks, legible, log_axis, look, short
from rnnbench.report.figures.figure_measured import Shown
from rnnbench.report.words.axes import word
from rnnbench.report.words.series import COLORS, MARKERS
from rnnbench.report.words.units import ratio_tick

MAX_NUMBERS = 10  # below the axis
MAX_LINES = 12


def render(frame: pd.DataFrame, axes: Sequence[str]) -> Figure:
    """The figure of a sweep's frame, `axes` being its sizes. Raises ValueError if nothing was measured.

    One panel for each phase; a line for each module at each combination of the other sizes.
    """
    measured = frame[frame["seconds"].notna() & frame["parity"].ne("is the reference")]
    if measured.empty:
        raise ValueError("nothing was measured, so there is nothing to draw")
    numbers = [axis for axis in axes if axis not in ("phase", "threads") and measured[axis].dtype.kind in "iuf"]
    along = max(numbers, key=lambda axis: measured[axis].nunique(), default=None)
    if along is None:
        raise ValueError("no size is a number, so there is no axis to draw along; rnnbench.measure compares modules")
    phases = list(dict.fromkeys(measured["phase"]))
    others = [axis for axis in axes if axis not in (along, "phase") and measured[axis].nunique() > 1]
    with look():
        figure = Shown(figsize=(1.6 + 3.8 * len(phases), 3.4), layout="constrained")
        panels = figure.subplots(1, len(phases), sharey=True, squeeze=False)[0]
        for panel, phase in zip(panels, phases, strict=True):
            _panel(panel, measured[measured["phase"] == phase], along, others)
            panel.set_title(str(phase), loc="left")
        _across(panels[0], measured)
        panels[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=8)
    return figure


def _panel(panel: Axes, cases: pd.DataFrame, along: str, others: Sequence[str]) -> None:
    lines = list(cases.groupby(["module", *others], sort=False, observed=True))
    for number, (key, line) in enumerate(lines[:MAX_LINES]):
        module, *settings = key if isinstance(key, tuple) else (key,)
        ordered = line.sort_values(along)
        values = ordered["ratio"].to_numpy(dtype=float)
        reach = np.abs(ordered[["ratio_low", "ratio_high"]].to_numpy(dtype=float).T - values)
        sizes = (f"{word(axis)} {value}" for axis, value in zip(others, settings, strict=True))
        label = ", ".join([short(str(module)), *sizes])
        panel.errorbar(
            ordered[along], values, yerr=np.nan_to_num(reach), label=label, color=COLORS[number % len(COLORS)],
            marker=MARKERS[number % len(MARKERS)], markersize=4.5, linewidth=1, linestyle=":", elinewidth=1.2,
            capsize=2,
        )  # fmt: skip
    panel.axhline(1, color="black", linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    panel.set_xscale("log")
    fixed_ticks(panel.xaxis, legible(sorted(cases[along].unique()), MAX_NUMBERS), lambda size: f"{size:g}")
    panel.set_xlabel(word(along))
    panel.grid(visible=True)


def _across(panel: Axes, measured: pd.DataFrame) -> None:
    ends = measured[["ratio", "ratio_low", "ratio_high"]]
    low, high = min(1.0, float(ends.min().min())) / 1.1, max(1.0, float(ends.max().max())) * 1.1
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    log_axis(panel.yaxis, low, high, ratio_tick)
    panel.set_ylabel("time over that of the reference")
