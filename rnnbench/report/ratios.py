"""How far each cell is from its reference: the figure of all ratios, and the figure of live modules.

The figures return None if there is nothing to show. `ax`: the caller's axes, in place of a new figure; `width` and
`height` of a new one in inches. In a column of a paper (below 5 inches) a figure is at most 4 inches high: it shows the
setting with the most cases, and of each cell the fastest implementation if there is no room for all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.derived import explaining
from rnnbench.analysis.summary import SHARED
from rnnbench.report.drawing.draw import key, ratio_axes, rows, texts_beside
from rnnbench.report.drawing.marks import (
    FASTER,
    INKS,
    OF_TORCH,
    SLOWER,
    CellMark,
    Shade,
    level,
    plain_and_fastest,
)
from rnnbench.report.drawing.sheet import (
    COLUMN,
    PAGE,
    Ax,
    Inches,
    Sheet,
    most_rows,
    refuse_several,
    rows_high,
    sheet,
)
from rnnbench.report.facts import counted, is_shared, reference_name
from rnnbench.report.words.names import (
    CONTEXT,
    SIZES,
    is_reference,
    one_line,
    say,
    say_all,
    several,
    swept,
    with_series,
    with_short_cells,
)
from rnnbench.report.words.units import digits, duration, half_width, span
from rnnbench.report.words.units import ratio as ratio_text
from rnnbench.store.parity import CACHED, ONLY_TIMES, parities
from rnnbench.store.records import LOADS, OF_DATA

WIDE = 12.0  # inches: the width of a figure of several phases with texts beside each
MANY = 10_000  # rows, of a figure that may be as high as it needs
MAX_KEYS = 6  # sizes in a legend
REACH_OF_RATIOS = 3  # times the farthest mark: an axis goes no farther, however long an interval is
FEW = 2  # marks in a row; a bar for the median would hide so few and say nothing new


def ratio(
    frame: pd.DataFrame,
    ax: Ax = None,
    *,
    width: Inches = None,
    height: Inches = None,
    noise_floor: float = math.nan,
    is_apart: bool = False,
) -> Figure | None:
    """Draw how far each cell is from its reference: a row for each cell and implementation, a mark for each colour.

    The colour is the size that explains most of the differences within the rows. A mark is the median of the row's
    cases of this size; its line reaches over all their 95% intervals. A bar is the median of all cases of the row.
    Hollow marks were measured on a shared core, and are in no median beside others. `noise_floor`: how far a case
    differs from itself, as a share (0.01); a band around 1 shows it, and `rnnbench.load(...).plot("ratio")` knows it. A
    panel for each phase, device, data type and number of workers; `is_apart`: a figure for each.
    """
    reference = reference_name(frame)
    frame = with_series(with_short_cells(frame))
    compared = frame[~is_reference(frame) & frame["ratio"].notna()]
    if compared.empty:
        return None
    wide = width or (PAGE if compared["phase"].nunique() == 1 else WIDE)
    compared = with_room(compared, MANY if is_apart else most_rows(ax, wide, height))
    names = list(compared["series"].unique())
    sizes = [axis for axis in swept(compared, SIZES) if axis not in CONTEXT]
    by = explaining(compared, ["series", "phase", *several(compared, CONTEXT)], sizes)
    values: list[Any] = sorted(compared[by].unique()) if by else []
    shades = {value: level(place / max(len(values) - 1, 1)) for place, value in enumerate(values)}
    by_panel, shape = panels(compared, CONTEXT, ax, wide, is_apart=is_apart)
    marked = compared["ratio"].min() / REACH_OF_RATIOS, compared["ratio"].max() * REACH_OF_RATIOS
    high = shape[0] * rows_high(len(names), wide, is_apart=is_apart)
    with sheet(ax, wide, high, shape, height, is_apart=is_apart, sharey=True) as canvas:
        for axes, (title, cases) in zip(canvas.grid.flat, by_panel, strict=False):
            points = _by_colour(cases, by)
            shade: Any = points[by].map(shades) if by else INKS["soft"]
            ends: Any = INKS["ink"]
            points = points.assign(y=_spread(points, names, by), ends=ends, shade=shade)
            by_series = {
                str(series): cases_of_series for series, cases_of_series in cases.groupby("series", sort=False)
            }
            worst = _worst_places(cases, sizes)
            row_texts = [
                _median_and_worst(by_series[name], worst, canvas) if name in by_series else ("", False)
                for name in names
            ]
            texts = [text for text, _ in row_texts]
            heading = _heading(worst) if any(has_worst for _, has_worst in row_texts) else ""
            rows(canvas, axes, names, points, are_cases=True)
            texts_beside(canvas, axes, texts, heading)
            if by:
                _medians(canvas, axes, cases, names)
            if math.isfinite(noise_floor):
                low = 1 / (1 + noise_floor)
                high = 1 + noise_floor
                axes.axvspan(low, high, color=canvas.ink("line"), alpha=0.6, linewidth=0, zorder=0)
            canvas.title(axes, title)
        ratio_axes(canvas, compared[["ratio", "ratio_low", "ratio_high"]].clip(*marked), reference)
        has_medians = by is not None and any(len(_bars(cases)) for _, cases in by_panel)
        has_shared = bool(is_shared(compared).any())
        canvas.legend(_keys(canvas, by, shades, noise_floor, has_medians=has_medians, has_shared=has_shared))
    return canvas.figure


def _by_colour(cases: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """Return a mark for each series, value of the axis `by` and state of the core.

    Columns: `series` and `by`, the median ratio (`value`), the outermost ends of the cases' intervals (`low`, `high`),
    `hollow` for a shared core, and `cases`, the rows of the summary, the one nearest to the median first.
    """
    marks = []
    keys = ["series", *([by] if by else []), "hollow"]
    for values, group in cases.assign(hollow=is_shared(cases)).groupby(keys, sort=False):
        median = group["ratio"].median()
        nearest = group["ratio"].sub(median).abs().sort_values(kind="stable").index
        ends = {"value": median, "low": group["ratio_low"].min(), "high": group["ratio_high"].max()}
        marks.append(dict(zip(keys, values, strict=True)) | ends | {"cases": tuple(nearest)})
    return pd.DataFrame(marks)


def _worst_places(cases: pd.DataFrame, sizes: Sequence[str]) -> dict[str, Any]:
    """Return, of each size, its value at the worst case of every row of a panel, or None if the rows differ."""
    worst = cases.loc[cases.groupby("series")["ratio"].idxmax()]
    return {axis: worst[axis].iloc[0] if worst[axis].nunique() == 1 else None for axis in sizes}


def _heading(worst: Mapping[str, Any]) -> str:
    """Return what stands above the medians and the worst cases, with the sizes of all these worst cases."""
    same = {axis: value for axis, value in worst.items() if value is not None}
    return f"median   worst{f', at {say_all(same, same.values())}' if same else ''}"


def _bars(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of the ratios of a panel: `series` and `ratio` of each series with more than a few cases."""
    groups = counted(cases, ["series"]).groupby("series", sort=False)["ratio"]
    bars = pd.DataFrame({"ratio": groups.median(), "cases": groups.size()}).reset_index()
    return bars[bars["cases"] > FEW]


def _medians(canvas: Sheet, axes: Axes, cases: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw a bar at the median of each row."""
    for bar in _bars(cases).to_dict("records"):
        row = names.index(bar["series"])
        axes.vlines(bar["ratio"], row - 0.4, row + 0.4, color=canvas.ink(), linewidth=2, zorder=5)


def with_room(cases: pd.DataFrame, room: int) -> pd.DataFrame:
    """Return the cases of at most `room` series: if there are more, the fastest of each cell."""
    if cases["series"].nunique() > room:
        cases = plain_and_fastest(cases, "ratio", room)
    return cases[cases["series"].isin(cases["series"].unique()[:room])]


def panels(
    cases: pd.DataFrame, context: Sequence[str], ax: Ax, width: float, *, is_apart: bool = False
) -> tuple[list[tuple[str, Any]], tuple[int, int]]:
    """Return the panels of a figure, each with its title, and their rows and columns: phases stand side by side.

    Raises ValueError if there are several panels for one `ax`. `is_apart`: each is a figure of its own.
    """
    varied = several(cases, context)
    phases = list(cases["phase"].unique())
    if ax is None and width < COLUMN and varied and not is_apart:
        settings = cases.groupby(varied, sort=False)["case"]
        cases = cases[settings.transform("size") == settings.size().max()]
        cases = cases[cases.groupby(varied, sort=False).ngroup() == 0]
    by_panel = sorted(
        cases.groupby([*varied, "phase"], sort=False), key=lambda panel: (*panel[0][:-1], phases.index(panel[0][-1]))
    )
    refuse_several(ax, len(by_panel), several(cases, ["phase", *context]))
    result = []
    for (*setting, phase), cases_of_panel in by_panel:
        pairs = [pair for pair in zip(varied, setting, strict=True) if phase in LOADS or pair[0] not in OF_DATA]
        words = say_all([axis for axis, _ in pairs], [value for _, value in pairs])
        result.append((", ".join(filter(None, [str(phase), words])), cases_of_panel))
    return result, (len(result), 1) if is_apart else (math.ceil(len(result) / len(phases)), len(phases))


def _spread(cases: pd.DataFrame, names: Sequence[str], by: str | None) -> "pd.Series[float]":
    """Return the place of each mark: around the middle of its series' row, in the order of the size."""
    place = cases.sort_values(by, kind="stable") if by else cases
    series = place.groupby("series")["value"]
    row = place["series"].map({name: row for row, name in enumerate(names)}).astype(float)
    return (row + 0.32 * (2 * (series.cumcount() + 0.5) / series.transform("size") - 1)).reindex(cases.index)


def _median_and_worst(cases: pd.DataFrame, places: Mapping[str, Any], canvas: Sheet) -> tuple[str, bool]:
    """Return the median and the worst of a row, and whether the worst is told; `places`: see `_worst_places`."""
    others = [axis for axis, value in places.items() if value is None]
    main = counted(cases)
    median = ratio_text(main["ratio"].median())
    worst = main.nlargest(1, "ratio").iloc[0]
    if canvas.is_narrow and canvas.grid.shape[1] > 2:
        return "", False  # there is no room
    if canvas.width < PAGE or canvas.grid.shape[1] > 2:
        return median, False
    if ratio_text(worst["ratio"]) == median:
        return median, False
    where = say_all(others, map(worst.get, others))
    return f"{median}   up to {ratio_text(worst['ratio'])}{f', {where}' if where else ''}", True


def _keys(
    canvas: Sheet, by: str | None, shades: dict[Any, Any], noise_floor: float, *, has_medians: bool, has_shared: bool
) -> list[Artist]:
    """Return the legend: some of the sizes that have a colour, lines, bars and hollow marks, and the noise floor."""
    values = list(shades)
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_KEYS)).round().astype(int))
    keys: list[Artist] = [
        key(canvas, CellMark(shades[values[index]], "o", filled=True), say(str(by), values[index])) for index in places
    ]
    keys.append(Line2D([], [], color=canvas.ink(), linewidth=1, label="95% intervals"))
    if has_medians:
        keys.append(
            Line2D(
                [],
                [],
                color=canvas.ink(),
                marker="|",
                markersize=9,
                markeredgewidth=2,
                linestyle="",
                label="median of all",
            )
        )
    if has_shared:
        hollow = key(canvas, CellMark(INKS["ink"], "o", filled=False), "")
        hollow.set_label(f"hollow: {SHARED}")
        keys.append(hollow)
    if math.isfinite(noise_floor):
        keys.append(Patch(facecolor=canvas.ink("line"), alpha=0.6, label=f"noise floor {half_width(noise_floor)}"))
    return keys


def _shade_of_interval(low: float, high: float) -> Shade:
    """Return the colour of a ratio by the side of 1 on which its interval lies."""
    if low > 1:
        return SLOWER
    return FASTER if high < 1 else INKS["soft"]


def measured(frame: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure:
    """Draw the time of each live module over that of the reference: a row for each, from the frame of `measure`."""
    wide = width or PAGE
    outputs = parities(frame["parity"])
    is_reference = pd.Series([each.kind == "reference" for each in outputs], index=frame.index)
    points = frame[["ratio", "ratio_low", "ratio_high"]].set_axis(["value", "low", "high"], axis=1)
    shades: list[Any] = list(map(_shade_of_interval, points["low"], points["high"]))
    shades = [INKS["ink"] if is_it else shade for is_it, shade in zip(is_reference, shades, strict=True)]
    points = points.assign(
        y=range(len(frame)),
        shade=shades,
        marker=np.where(is_reference, OF_TORCH, "o"),
        hollow=[each.is_only_timed or each.kind == "cached" for each in outputs],
    )
    texts = []
    for is_it, parity, case in zip(is_reference, outputs, frame.to_dict("records"), strict=True):
        ends = span(digits(case["ratio_low"]), digits(case["ratio_high"]), ", ")
        interval = "" if wide < COLUMN or math.isnan(case["ratio_low"]) else f" [{ends}]"
        words = ["reference" if is_it else ratio_text(case["ratio"]) + interval, duration(case["seconds"])]
        words += [ONLY_TIMES] if parity.is_only_timed else []
        words += [CACHED] if parity.kind == "cached" else []
        texts.append("   ".join(words[: 1 if wide < COLUMN else None]))
    with sheet(ax, wide, rows_high(len(frame), wide), height=height) as canvas:
        rows(canvas, canvas.axes, list(map(one_line, frame.index)), points, thick=2)
        texts_beside(canvas, canvas.axes, texts)
        ratio_axes(
            canvas,
            frame[["ratio", "ratio_low", "ratio_high"]],
            one_line(frame.index[is_reference][0]) if is_reference.any() else "the reference",
        )
        if facts := frame.attrs:  # which a selection of rows keeps, and a file does not
            canvas.title(canvas.axes, f"{facts['phase']} on {facts['device']}, {say('threads', facts['threads'])}")
    return canvas.figure
