"""The figures of a run: its ratios, how they grow with a size, and on demand latency, costs, limits and replicates.

Each returns a matplotlib figure, or None if there is nothing to show. `ax`: the caller's axes, in place of a new
figure; `width` and `height` of a new one in inches. In a column of a paper (below 5 inches) a figure is at most 4
inches high: it shows the setting with the most cases, and of each cell the fastest implementation if there is no room
for all.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.runs.latency import QUANTILES, measured_streams, quantile_name
from rnnbench.analysis.size_fit import explaining
from rnnbench.report.colors import INKS, level
from rnnbench.report.drawing.draw import (
    REFERENCE,
    key,
    limits,
    lines,
    log_ticks,
    most_rows,
    rows,
    rows_high,
    size_ticks,
)
from rnnbench.report.drawing.marks import MARKERS, CellMark, marks, plain_and_fastest
from rnnbench.report.drawing.sheet import COLUMN, PAGE, Ax, Inches, Sheet, refuse_several, sheet
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    by_workload,
    is_reference,
    say,
    say_all,
    several,
    swept,
    with_series,
    word,
)
from rnnbench.report.words.ratios import known_ratios, words
from rnnbench.report.words.units import (
    duration,
    duration_tick,
    half_width,
    ratio_tick,
)
from rnnbench.report.words.units import ratio as ratio_text
from rnnbench.store.records import LOADS, OF_DATA, TORCH_OWN

Quantity = Literal["seconds", "peak_bytes"]
GROWING = ("batch_size", "seq_len", "hidden_size")
WIDE = 12.0  # inches: the width of a figure of several phases with texts beside each
MAX_KEYS = 6  # sizes in a legend
MAX_STREAMS = 60  # more do not fit a page; the table has all
REACH = 3  # times the farthest mark: an axis goes no farther, however long an interval is
FEW = 2  # marks in a row; a bar for the median would hide so few and say nothing new
USUAL = 0.7  # of the series: a batch and length at which fewer were measured is not shown
GUIDES = (1, 10, 100, 1_000)  # times below the roof
MANY = 200  # replicates in a panel; of more, the median and bands are drawn

Panel = tuple[str, pd.DataFrame]


def panels(cases: pd.DataFrame, context: Sequence[str], ax: Ax, width: float) -> list[list[Panel]]:
    """Return the panels of a figure with their titles: a row for each setting, phases side by side.

    Raises ValueError if there are several panels for one `ax`.
    """
    varied, phases = several(cases, context), list(cases["phase"].unique())
    by_panel = dict(iter(cases.groupby(["phase", *varied], sort=False)))
    refuse_several(ax, cases, ["phase", *varied], len(by_panel))
    settings = list(dict.fromkeys(cases[varied].itertuples(index=False, name=None))) or [()]
    if ax is None and width < COLUMN:
        settings = [
            max(settings, key=lambda setting: sum(len(by_panel.get((phase, *setting), ())) for phase in phases))
        ]

    def title(phase: str, setting: Sequence[Any]) -> str:
        pairs = [
            (axis, value) for axis, value in zip(varied, setting, strict=True) if phase in LOADS or axis not in OF_DATA
        ]
        return ", ".join(filter(None, [phase, say_all([axis for axis, _ in pairs], [value for _, value in pairs])]))

    nothing = cases.head(0)
    return [
        [(title(phase, setting), by_panel.get((phase, *setting), nothing)) for phase in phases] for setting in settings
    ]


def ratio(
    summary: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None, noise_floor: float = math.nan
) -> Figure | None:
    """Draw how far each cell is from its reference: a row for each series, a mark for each workload.

    `noise_floor`: how far a case differs from itself (`analysis.runs.noise`), a band around 1.
    """
    frame = with_series(summary)
    compared = frame[~is_reference(frame) & frame["ratio"].notna()]
    if compared.empty:
        return None
    wide = width or (PAGE if compared["phase"].nunique() == 1 else WIDE)
    if compared["series"].nunique() > (room := most_rows(ax, wide, height)):
        compared = plain_and_fastest(compared, "ratio", room)
    names = list(compared["series"].unique())[:room]
    compared = compared[compared["series"].isin(names)]
    grid = panels(compared, CONTEXT, ax, wide)
    axes_of_sizes = [axis for axis in swept(compared, SIZES) if axis not in CONTEXT]
    by = explaining(compared, ["series", "phase", *several(compared, CONTEXT)], axes_of_sizes)
    values: list[Any] = sorted(compared[by].unique()) if by else []
    shade_of = {value: level(place / max(len(values) - 1, 1)) for place, value in enumerate(values)}
    other = [axis for axis in axes_of_sizes if axis != by]
    high, every = rows_high(len(names), wide) * len(grid), [panel for line in grid for panel in line]
    with sheet(ax, wide, high, (len(grid), len(grid[0])), height, sharex=True, sharey=True) as drawn:
        for axes, (title, cases) in zip(drawn.grid.flat, every, strict=True):
            axes.set_visible(not cases.empty)
            points = pd.DataFrame(
                {
                    "y": _spread(cases, names, by),
                    "value": cases["ratio"],
                    "low": cases["ratio_low"],
                    "high": cases["ratio_high"],
                    "color": [drawn.ink.of(shade_of[value] if by else INKS["soft"]) for value in cases[by or "ratio"]],
                    "ends": drawn.ink.text,
                }
            )
            texts = [_median_and_worst(cases[cases["series"] == name], other, drawn) for name in names]
            rows(drawn, axes, names, points, texts=texts, are_cases=True)
            drawn.title(axes, title)
            for y, name in enumerate(names):
                own = cases[cases["series"] == name]
                if len(own) > FEW:
                    median = known_ratios(own)["ratio"].median()
                    axes.vlines(median, y - 0.4, y + 0.4, color=drawn.ink.text, linewidth=2, zorder=5)
            _mark_reference(drawn, axes, noise_floor)
        marked = (compared["ratio"].min() / REACH, compared["ratio"].max() * REACH)
        ends = limits(compared[["ratio", "ratio_low", "ratio_high"]].clip(*marked), around=1)
        for axes in drawn.grid.flat:
            log_ticks(axes.xaxis, *ends, ratio_tick)
            axes.set_xlabel(f"time over {words(summary).name}" if drawn.is_narrow else _over(summary))
            axes.label_outer()
        _lines_between_families(drawn, compared, names)
        picked = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_KEYS)).round().astype(int))
        keys = [CellMark(shade_of[values[index]], "o", filled=True) for index in picked] if by else []
        handles: list[Artist] = [
            key(drawn, look, say(str(by), values[index])) for look, index in zip(keys, picked, strict=False)
        ]
        handles.append(Line2D([], [], color=drawn.ink.text, linewidth=1, label="95% interval"))
        if max(cases["series"].value_counts().max() for _, cases in every if len(cases)) > FEW:
            bar: dict[str, Any] = {"marker": "|", "markersize": 9, "markeredgewidth": 2, "linestyle": ""}
            handles.append(Line2D([], [], color=drawn.ink.text, label="median", **bar))
        if math.isfinite(noise_floor):
            handles.append(Patch(facecolor=drawn.ink.line, alpha=0.6, label=f"noise floor {half_width(noise_floor)}"))
        drawn.legend(handles)
    return drawn.figure


def _over(summary: pd.DataFrame) -> str:
    return f"time over that of {words(summary).name} (log scale)"


def _spread(cases: pd.DataFrame, names: Sequence[str], by: str | None) -> "pd.Series[float]":
    """Return the place of each case: around the middle of its series' row, in the order of the size."""
    place = cases.sort_values(by, kind="stable") if by else cases
    number, count = place.groupby("series").cumcount(), place.groupby("series")["ratio"].transform("size")
    rows_of = place["series"].map({name: row for row, name in enumerate(names)}).astype(float)
    return (rows_of + 0.32 * (2 * (number + 0.5) / count - 1)).reindex(cases.index)


def _median_and_worst(cases: pd.DataFrame, other: Sequence[str], drawn: Sheet) -> str:
    known = known_ratios(cases)
    if known.empty:
        return ""
    median = ratio_text(known["ratio"].median())
    if drawn.width < PAGE or not drawn.is_own or drawn.grid.shape[1] > 2 or len(known) == 1:
        return median
    worst = known.sort_values("ratio").iloc[-1]
    return f"{median}   up to {ratio_text(worst['ratio'])} {say_all(other, [worst[axis] for axis in other])}".rstrip()


def _mark_reference(drawn: Sheet, axes: Axes, noise_floor: float = math.nan) -> None:
    axes.axvline(1, color=drawn.ink.text, **REFERENCE)
    if math.isfinite(noise_floor):
        axes.axvspan(1 / (1 + noise_floor), 1 + noise_floor, color=drawn.ink.line, alpha=0.6, linewidth=0, zorder=0)


def _lines_between_families(drawn: Sheet, cases: pd.DataFrame, names: Sequence[str]) -> None:
    families = cases.drop_duplicates("series").set_index("series").loc[list(names), "family"].to_numpy()
    for row in np.flatnonzero(families[1:] != families[:-1]):
        for axes in drawn.grid.flat:
            axes.axhline(row + 0.5, color=drawn.ink.line, linewidth=0.7)


def growth(
    summary: pd.DataFrame,
    *,
    ax: Ax = None,
    width: Inches = None,
    height: Inches = None,
    value: Literal["ratio", "seconds"] | None = None,
    along: str | None = None,
    least: int = 2,
) -> Figure | None:
    """Draw how the ratio, or the time of a call, grows with a size: a line for each cell, all cells in one panel.

    `value`: `ratio` (the default, if any is known) or `seconds`; `along`: the only size to vary. A panel for each phase
    and size that has `least` values or more; in a column of a paper, for the size with the most. The other sizes are
    held where most values were measured, at the smallest of these, which stands below the panel.
    """
    frame, wide = with_series(summary), width or PAGE
    value = value or ("ratio" if frame.loc[~is_reference(frame), "ratio"].notna().any() else "seconds")
    measured = _usual_setting(_without_torch_cells(frame[frame[value].notna()]))
    measured = measured if value == "seconds" else measured[~is_reference(measured)]
    measured = plain_and_fastest(measured, value)
    sizes = swept(measured, SIZES)
    axes_along = [
        axis for axis in GROWING if axis in sizes and along in (None, axis) and measured[axis].nunique() >= least
    ]
    phases = list(measured["phase"].unique())
    if ax is None and wide < COLUMN:
        axes_along = sorted(axes_along, key=lambda axis: -measured[axis].nunique())[:1]
    held = {
        (phase, axis): _held(measured[measured["phase"] == phase], axis, sizes)
        for axis in axes_along
        for phase in phases
    }
    shown = {place: found for place, found in held.items() if found[0][place[1]].nunique() >= least}
    if not shown:
        return None
    refuse_several(ax, measured, ["phase"], len({phase for phase, _ in shown}))
    if ax is not None and len(shown) > 1:
        names = [axis for _, axis in shown]
        raise ValueError(f"{len(shown)} sizes grow: choose one, such as along={names[0]!r}, or leave ax out")
    columns = len({phase for phase, _ in shown})
    shape = math.ceil(len(shown) / columns), columns
    look_of = marks(measured)
    references = list(measured.loc[is_reference(measured), "series"].unique())
    for series, marker in zip(references[1:], MARKERS, strict=False):
        look_of[series] = replace(look_of[series], marker=marker)
    with sheet(ax, wide, 0.4 + 2.3 * shape[0], shape, height, sharey=True) as drawn:
        handles: dict[str, Artist] = {}
        for axes, ((phase, axis), (cases, where)) in zip(drawn.grid.flat, shown.items(), strict=False):
            points = cases.rename(columns={"series": "line", axis: "x", f"{value}_low": "low", f"{value}_high": "high"})
            points = points.assign(value=cases[value]).sort_values("x", kind="stable")
            handles |= {str(line.get_label()): line for line in lines(drawn, axes, points, look_of, are_cases=True)}
            if value == "ratio":
                axes.axhline(1, color=drawn.ink.text, **REFERENCE)
            size_ticks(axes, sorted(points["x"].unique()))
            axes.set_xlabel(f"{word(axis)}\n({where})" if where else word(axis))
            drawn.title(axes, phase)
        for axes in drawn.grid.flat[len(shown) :]:
            axes.axis("off")
        values = pd.concat([cases[value] for cases, _ in shown.values()])
        ends = limits(values, around=1 if value == "ratio" else None, margin=1.25)
        log_ticks(drawn.axes.yaxis, *ends, ratio_tick if value == "ratio" else duration_tick)
        about = f"time over {words(summary).name}" if value == "ratio" else "time per call"
        for axes in drawn.grid[:, 0]:
            axes.set_ylabel(about)
        drawn.legend(list(handles.values()))
    return drawn.figure


def _without_torch_cells(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases without torch's own cells, which take as long as a loop."""
    return cases[is_reference(cases) | ~cases["implementation"].isin(list(TORCH_OWN))]


def _usual_setting(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases of the setting that has the most."""
    settings = swept(cases, SETTINGS)
    if not settings:
        return cases
    keys = cases[settings].apply(tuple, axis=1)
    return cases[keys == keys.value_counts(sort=False).idxmax()]


def _held(cases: pd.DataFrame, axis: str, sizes: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Return the cases that differ in one size alone, and in words where the other sizes are held."""
    others = [other for other in sizes if other != axis and cases[other].nunique() > 1]
    if not others:
        return cases, ""
    values = cases.groupby([*others, "series"], sort=True)[axis].nunique()
    first = values[values > 1].groupby(level=others).sum().idxmax() if (values > 1).any() else values.index[0][:-1]
    at = first if isinstance(first, tuple) else (first,)
    shown = cases[cases[others].eq(list(at)).all(axis=1)]
    return shown[shown.groupby("series")[axis].transform("nunique") > 1], say_all(others, at)


def latency(summary: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure | None:
    """Draw how long a step of each stream takes: a mark at its median, a line to p99.9 that gets thinner."""
    frame, wide = by_workload(summary), width or PAGE
    streams = measured_streams(frame)
    if streams.empty or (streams := streams[streams["latency_p50"].notna()]).empty:
        return None
    streams = streams.head(min(MAX_STREAMS, most_rows(ax, wide, height)))
    look_of, varied = marks(frame), several(streams, (*SETTINGS, *SIZES))
    texts, names, periods = [], [], sorted(streams["period_seconds"].dropna().unique())
    with sheet(ax, wide, rows_high(len(streams), wide), height=height) as drawn:
        axes = drawn.axes
        colors = [drawn.ink.of(look_of[series].shade) for series in streams["series"]]
        widths = (6.0, 3.0, 1.2)  # points, of the line that ends at p95, p99 and p99.9
        for (name, end), thick in zip(pairwise(QUANTILES), widths, strict=True):
            known = streams[end].notna().to_numpy()
            places, shown = (
                np.flatnonzero(known),
                [color for color, is_known in zip(colors, known, strict=True) if is_known],
            )
            axes.hlines(places, streams.loc[known, name], streams.loc[known, end], shown, linewidth=thick, alpha=0.45)
        for case in streams.to_dict("records"):
            last = [name for name in QUANTILES if math.isfinite(case[name])][-1]
            texts.append(f"{quantile_name(last)} {duration(case[last])}")
            names.append(", ".join([case["series"], *(say(axis, case[axis]) for axis in varied)]))
        points = pd.DataFrame(
            {
                "y": range(len(streams)),
                "value": streams["latency_p50"],
                "low": streams["latency_p50_low"],
                "high": streams["latency_p50_high"],
                "color": colors,
                "marker": [look_of[series].marker for series in streams["series"]],
            }
        )
        rows(drawn, axes, names, points, texts=texts, are_cases=True)
        for period in periods:
            axes.axvline(period, color=drawn.ink.text, **REFERENCE)
        ends = limits([*streams[list(QUANTILES)].to_numpy(dtype=float).ravel(), *periods])
        log_ticks(axes.xaxis, *ends, duration_tick)
        axes.set_xlabel("time of a step (log scale)")
        soft: dict[str, Any] = {"color": drawn.ink.soft}
        handles = [Line2D([], [], marker="o", markersize=5, linestyle="", label="p50", **soft)]
        for (name, end), thick in zip(pairwise(QUANTILES), widths, strict=True):
            if streams[end].notna().any():
                label = f"{quantile_name(name)} to {quantile_name(end)}"
                handles.append(Line2D([], [], linewidth=thick, alpha=0.45, label=label, **soft))
        if periods:
            label = f"period {' or '.join(map(duration, periods))}"
            handles.append(Line2D([], [], color=drawn.ink.text, label=label, **REFERENCE))
        drawn.legend(handles)
    return drawn.figure
