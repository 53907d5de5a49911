"""Figure: the ratio of live modules to their reference, or their times, over a size that was swept."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.colors import HUES
from rnnbench.report.figures.drawing.canvas import fixed_ticks, legible, log_axis, short
from rnnbench.report.figures.drawing.marks import MARKERS, hues_of
from rnnbench.report.figures.drawing.sheet import Sheet, refuse_several, sheet
from rnnbench.report.words.axes import word
from rnnbench.report.words.units import duration_tick, ratio_tick

PANEL_INCHES, HEIGHT = 3.8, 3.4
MAX_NUMBERS = 10  # below the axis
MAX_LINES = 24  # of a panel


def render(
    frame: pd.DataFrame,
    axes: Sequence[str],
    *,
    ax: Axes | None = None,
    value: Literal["ratio", "seconds"] = "ratio",
    along: str | None = None,
) -> Figure:
    """Draw a sweep's frame, `axes` being its sizes; `along` is by default the one with the most values.

    One panel for each phase; a line for each module at each combination of the other sizes. The colour tells the
    module, the marker the other sizes. Raises ValueError if nothing was measured, if no size is a number, if `along` is
    none, if a panel would have more than `MAX_LINES` lines, or if there are several panels and one `ax`.
    """
    measured = frame[frame["seconds"].notna() & (frame["parity"].ne("is the reference") | (value == "seconds"))]
    if measured.empty:
        raise ValueError("nothing was measured, so there is nothing to draw")
    numbers = [axis for axis in axes if axis not in ("phase", "threads") and measured[axis].dtype.kind in "iuf"]
    if along not in (None, *numbers):
        raise ValueError(f"along: expected one of {', '.join(numbers) or 'no size'}, found {along!r}")
    along = along or max(numbers, key=lambda axis: measured[axis].nunique(), default=None)
    if along is None:
        raise ValueError("no size is a number, so there is no axis to draw along; rnnbench.measure compares modules")
    phases = list(dict.fromkeys(measured["phase"]))
    refuse_several(ax, measured, ["phase"], len(phases))
    others = [axis for axis in axes if axis not in (along, "phase") and measured[axis].nunique(dropna=False) > 1]
    _check_lines(measured, others)
    hues = hues_of(measured["module"].astype(str))
    settings = list(dict.fromkeys(_settings(measured, others)))
    size = (1.6 + PANEL_INCHES * len(phases), HEIGHT)
    with sheet(ax, size, (1, len(phases)), sharey=True) as drawn:
        for panel, phase in zip(drawn.grid[0], phases, strict=True):
            cases = measured[measured["phase"] == phase]
            for number, values in enumerate(settings):
                chosen = cases[[own == values for own in _settings(cases, others)]]
                for module, line in chosen.groupby("module", sort=False, observed=True):
                    hue, marker = hues[str(module)]
                    color = drawn.ink.of(HUES[hue])
                    _line(panel, line.sort_values(along), along, value, color, _marker(marker, number, len(settings)))
            if value == "ratio":
                panel.axhline(1, color=drawn.ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
            _across(panel, cases, along)
            drawn.title(panel, str(phase))
        low, high = _limits(measured, value)
        drawn.axes.set_yscale("log")
        drawn.axes.set_ylim(low, high)
        log_axis(drawn.axes.yaxis, low, high, ratio_tick if value == "ratio" else duration_tick)
        drawn.axes.set_ylabel("time over that of the reference" if value == "ratio" else "time per call")
        drawn.legend(_legend(drawn, hues, others, settings), 3)
    return drawn.figure


def _settings(cases: pd.DataFrame, others: Sequence[str]) -> list[tuple[object, ...]]:
    """The values of the other sizes of each row; one of them may be None, as the threads are that torch chooses."""
    return [tuple(row) for row in cases[list(others)].astype(object).to_numpy()]


def _check_lines(measured: pd.DataFrame, others: Sequence[str]) -> None:
    lines = measured[["module", *others]].drop_duplicates()
    if len(lines) > MAX_LINES:
        widest = max(others, key=lambda axis: measured[axis].nunique(), default="module")
        value = measured[widest].iloc[0]
        raise ValueError(
            f"{len(lines)} lines are too many for one figure (at most {MAX_LINES}): select some, such as "
            f"frame[frame[{widest!r}] == {value.item() if isinstance(value, np.generic) else value!r}], and draw them"
        )


def _marker(of_module: str, number: int, settings: int) -> str:
    """The module's own marker; if there are several combinations of the other sizes, the one of the combination."""
    return of_module if settings == 1 else MARKERS[number % len(MARKERS)]


def _line(panel: Axes, cases: pd.DataFrame, along: str, value: str, color: str, marker: str) -> None:
    values = cases[value].to_numpy(dtype=float)
    reach = np.abs(cases[[f"{value}_low", f"{value}_high"]].to_numpy(dtype=float).T - values)
    panel.errorbar(
        cases[along], values, yerr=np.nan_to_num(reach), color=color, marker=marker, markersize=4.5, linewidth=1,
        linestyle=":", elinewidth=1.2, capsize=2,
    )  # fmt: skip


def _across(panel: Axes, cases: pd.DataFrame, along: str) -> None:
    sizes = sorted(cases[along].unique())
    is_log = sizes[0] > 0  # a log axis has no place for 0, as of a dropout
    panel.set_xscale("log" if is_log else "linear")
    if is_log or len(sizes) <= MAX_NUMBERS:
        fixed_ticks(panel.xaxis, legible(sizes, MAX_NUMBERS) if is_log else sizes, lambda size: f"{size:g}")
    panel.set_xlabel(word(along))
    panel.grid(visible=True)


def _limits(measured: pd.DataFrame, value: str) -> tuple[float, float]:
    ends = measured[[value, f"{value}_low", f"{value}_high"]].to_numpy(dtype=float)
    shown = [1.0, *ends[np.isfinite(ends)]] if value == "ratio" else ends[np.isfinite(ends)]
    return float(min(shown)) / 1.1, float(max(shown)) * 1.1


def _legend(
    drawn: Sheet, hues: dict[str, tuple[str, str]], others: Sequence[str], settings: Sequence[tuple[object, ...]]
) -> list[Line2D]:
    handles = [
        Line2D([], [], color=drawn.ink.of(HUES[hue]), linestyle=":", marker=marker if len(settings) == 1 else "",
               label=short(module))
        for module, (hue, marker) in hues.items()
    ]  # fmt: skip
    for number, values in enumerate(settings if len(settings) > 1 else []):
        label = ", ".join(f"{word(axis)} {value}" for axis, value in zip(others, values, strict=True))
        handles.append(
            Line2D([], [], color=drawn.ink.soft, linestyle="", marker=_marker("", number, len(settings)), label=label)
        )
    return handles
