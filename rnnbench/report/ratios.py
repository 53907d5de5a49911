"""How far each cell is from its reference: the figure of all ratios, the heat map, and the figure of live modules.

The figures return None if there is nothing to show. `ax`: the caller's axes, in place of a new figure; `width` and
`height` of a new one in inches. In a column of a paper (below 5 inches) a figure is at most 4 inches high: it shows the
setting with the most cases, and of each cell the fastest implementation if there is no room for all.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from rnnbench.analysis.size_fit import explaining
from rnnbench.analysis.summary import SHARED
from rnnbench.report.case_tables import by_state, is_coarse, is_shared, is_unclear, reference_name
from rnnbench.report.drawing.draw import (
    COLUMN,
    MAX_NAME,
    MIN_LETTERS,
    PAGE,
    SHORT_NAME,
    Ax,
    Inches,
    Sheet,
    key,
    mark,
    most_rows,
    phone_high,
    ratio_axes,
    refuse_several,
    rows,
    rows_high,
    sheet,
    short,
)
from rnnbench.report.drawing.marks import (
    FASTER,
    HEAT,
    INKS,
    OF_TORCH,
    ON_AREAS,
    SLOWER,
    CellMark,
    level,
    plain_and_fastest,
)
from rnnbench.report.words.names import (
    CONTEXT,
    SETTINGS,
    SIZES,
    is_reference,
    one_line,
    say,
    say_all,
    several,
    swept,
    with_series,
    with_short_cells,
    word,
)
from rnnbench.report.words.units import digits, duration, half_width, ratio_box, span
from rnnbench.report.words.units import ratio as ratio_text
from rnnbench.store.parity import CACHED, ONLY_TIMES, parities
from rnnbench.store.records import LOADS, OF_DATA

WIDE = 12.0  # inches: the width of a figure of several phases with texts beside each
MANY = 10_000  # rows, of a figure that may be as high as it needs
MAX_KEYS = 6  # sizes in a legend
REACH = 3  # times the farthest mark: an axis goes no farther, however long an interval is
FEW = 2  # marks in a row; a bar for the median would hide so few and say nothing new
SCALE = LinearSegmentedColormap.from_list("faster-slower", HEAT)
# Inches of the narrowest box that its number fits.
BOX = 0.34
PAPER_BOX = 0.27
LETTER = 0.066  # inches of a letter of a name
# From the size that is pooled first to the one that is kept longest. Ratios depend most on batch and hidden size.
POOLED = ("samples", "workers", "output_size", "input_size", "seq_len", "batch_size", "num_layers", "hidden_size")


def ratio(
    frame: pd.DataFrame,
    ax: Ax = None,
    *,
    width: Inches = None,
    height: Inches = None,
    noise_floor: float = math.nan,
    is_phone: bool = False,
) -> Figure | None:
    """Draw how far each cell is from its reference: a row for each cell and implementation, a mark for each colour.

    The colour is the size that explains most of the differences within the rows. A mark is the median of the row's
    cases of this size; its line reaches over all their 95% intervals. A bar is the median of all cases of the row.
    Hollow marks were measured on a shared core, and have a hollow median of their own. `noise_floor`: how far a case
    differs from itself, as a share (0.01); a band around 1 shows it, and `rnnbench.load(...).plot("ratio")` knows it. A
    panel for each phase, device, data type and number of workers; `is_phone`: below each other, however high that is.
    """
    reference = reference_name(frame)
    frame = with_series(with_short_cells(frame))
    compared = frame[~is_reference(frame) & frame["ratio"].notna()]
    if compared.empty:
        return None
    wide = width or (PAGE if compared["phase"].nunique() == 1 else WIDE)
    compared = with_room(compared, MANY if is_phone else most_rows(ax, wide, height))
    names = list(compared["series"].unique())
    sizes = [axis for axis in swept(compared, SIZES) if axis not in CONTEXT]
    by = explaining(compared, ["series", "phase", *several(compared, CONTEXT)], sizes)
    values: list[Any] = sorted(compared[by].unique()) if by else []
    shades = {value: level(place / max(len(values) - 1, 1)) for place, value in enumerate(values)}
    shown, shape = panels(compared, CONTEXT, ax, wide, is_phone=is_phone)
    marked = compared["ratio"].min() / REACH, compared["ratio"].max() * REACH
    high = shape[0] * (phone_high(len(names)) if is_phone else rows_high(len(names), wide))
    with sheet(ax, wide, high, shape, height, is_phone=is_phone, sharey=True) as drawn:
        for axes, (title, cases) in zip(drawn.grid.flat, shown, strict=False):
            points = _by_colour(cases, by)
            shade: Any = points[by].map(shades) if by else INKS["soft"]
            ends: Any = INKS["ink"]
            points = points.assign(y=_spread(points, names, by), ends=ends, shade=shade)
            known = {str(series): own for series, own in cases.groupby("series", sort=False)}
            worst = _worst_places(cases, sizes)
            told = [_median_and_worst(known[name], worst, drawn) if name in known else ("", False) for name in names]
            texts = [text for text, _ in told]
            heading = _heading(worst) if any(has_worst for _, has_worst in told) else ""
            rows(drawn, axes, names, points, texts=texts, heading=heading, are_cases=True)
            if by:
                _medians(drawn, axes, cases, names)
            if math.isfinite(noise_floor):
                low = 1 / (1 + noise_floor)
                high = 1 + noise_floor
                axes.axvspan(low, high, color=drawn.ink("line"), alpha=0.6, linewidth=0, zorder=0)
            drawn.title(axes, title)
        ratio_axes(drawn, compared[["ratio", "ratio_low", "ratio_high"]].clip(*marked), reference)
        has_medians = by is not None and any(len(_bars(cases)) for _, cases in shown)
        has_shared = bool(is_shared(compared).any())
        drawn.legend(_keys(drawn, by, shades, noise_floor, has_medians=has_medians, has_shared=has_shared))
    return drawn.figure


def _by_colour(cases: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """Return a mark for each series, value of the axis `by` and state of the core.

    Columns: `series` and `by`, the median ratio (`value`), the outermost ends of the cases' intervals (`low`, `high`),
    `hollow` for a shared core, and `cases`, the rows of the summary, the one nearest to the median first.
    """
    marks = []
    keys = ["series", *([by] if by else []), "hollow"]
    for values, own in cases.assign(hollow=is_shared(cases)).groupby(keys, sort=False):
        median = own["ratio"].median()
        nearest = own["ratio"].sub(median).abs().sort_values(kind="stable").index
        ends = {"value": median, "low": own["ratio_low"].min(), "high": own["ratio_high"].max()}
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
    """Return the medians of the ratios of a panel: a row for each series and state with more than a few cases.

    Columns: `series`, `is_shared` (whether its cases were measured on a shared core) and `ratio`.
    """
    groups = cases.assign(is_shared=is_shared(cases)).groupby(["series", "is_shared"], sort=False)["ratio"]
    bars = pd.DataFrame({"ratio": groups.median(), "cases": groups.size()}).reset_index()
    return bars[bars["cases"] > FEW]


def _medians(drawn: Sheet, axes: Axes, cases: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw a bar at the median of each row: solid for its undisturbed cases, hollow for those on a shared core."""
    for bar in _bars(cases).to_dict("records"):
        row = names.index(bar["series"])
        ends = bar["ratio"], row - 0.4, row + 0.4
        axes.vlines(*ends, color=drawn.ink(), linewidth=4 if bar["is_shared"] else 2, zorder=5)
        if bar["is_shared"]:
            axes.vlines(bar["ratio"], row - 0.35, row + 0.35, color=drawn.paper, linewidth=2, zorder=6)


def with_room(cases: pd.DataFrame, room: int) -> pd.DataFrame:
    """Return the cases of at most `room` series: if there are more, the fastest of each cell."""
    if cases["series"].nunique() > room:
        cases = plain_and_fastest(cases, "ratio", room)
    return cases[cases["series"].isin(cases["series"].unique()[:room])]


def panels(
    cases: pd.DataFrame, context: Sequence[str], ax: Ax, width: float, *, is_phone: bool = False
) -> tuple[list[tuple[str, Any]], tuple[int, int]]:
    """Return the panels of a figure, each with its title, and their rows and columns: phases stand side by side.

    Raises ValueError if there are several panels for one `ax`. `is_phone`: all panels stand below each other.
    """
    varied = several(cases, context)
    phases = list(cases["phase"].unique())
    if ax is None and width < COLUMN and varied and not is_phone:
        settings = cases.groupby(varied, sort=False)["case"]
        cases = cases[settings.transform("size") == settings.size().max()]
        cases = cases[cases.groupby(varied, sort=False).ngroup() == 0]
    by_panel = sorted(
        cases.groupby([*varied, "phase"], sort=False), key=lambda panel: (*panel[0][:-1], phases.index(panel[0][-1]))
    )
    refuse_several(ax, len(by_panel), several(cases, ["phase", *context]))
    shown = []
    for (*setting, phase), own in by_panel:
        told = [pair for pair in zip(varied, setting, strict=True) if phase in LOADS or pair[0] not in OF_DATA]
        said = say_all([axis for axis, _ in told], [value for _, value in told])
        shown.append((", ".join(filter(None, [str(phase), said])), own))
    return shown, (len(shown), 1) if is_phone else (math.ceil(len(shown) / len(phases)), len(phases))


def _spread(cases: pd.DataFrame, names: Sequence[str], by: str | None) -> "pd.Series[float]":
    """Return the place of each mark: around the middle of its series' row, in the order of the size."""
    place = cases.sort_values(by, kind="stable") if by else cases
    series = place.groupby("series")["value"]
    row = place["series"].map({name: row for row, name in enumerate(names)}).astype(float)
    return (row + 0.32 * (2 * (series.cumcount() + 0.5) / series.transform("size") - 1)).reindex(cases.index)


def _median_and_worst(known: pd.DataFrame, places: Mapping[str, Any], drawn: Sheet) -> tuple[str, bool]:
    """Return the median and the worst of a row's undisturbed cases, or of those on a shared core if it has no others.

    Also whether the worst is told. If a row has both, the median of those on a shared core stands in place of the
    worst. `places`: see `_worst_places`.
    """
    others = [axis for axis, value in places.items() if value is None]
    shared = known[is_shared(known)]
    quiet = known[~is_shared(known)]
    told = shared if quiet.empty else quiet
    median = ratio_text(told["ratio"].median())
    worst = told.nlargest(1, "ratio").iloc[0]
    if drawn.is_narrow and drawn.grid.shape[1] > 2:
        return "", False  # there is no room
    if drawn.width < PAGE or drawn.grid.shape[1] > 2:
        return median, False
    if len(shared) and len(quiet):
        return f"{median}   {SHARED} {ratio_text(shared['ratio'].median())}", False
    if ratio_text(worst["ratio"]) == median:
        return median, False
    where = say_all(others, map(worst.get, others))
    return f"{median}   up to {ratio_text(worst['ratio'])}{f', {where}' if where else ''}", True


def _keys(
    drawn: Sheet, by: str | None, shades: dict[Any, Any], noise_floor: float, *, has_medians: bool, has_shared: bool
) -> list[Artist]:
    """Return the legend: some of the sizes that have a colour, lines, bars and hollow marks, and the noise floor."""
    values = list(shades)
    picked = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_KEYS)).round().astype(int))
    keys: list[Artist] = [
        key(drawn, CellMark(shades[values[index]], "o", filled=True), say(str(by), values[index])) for index in picked
    ]
    keys.append(Line2D([], [], color=drawn.ink(), linewidth=1, label="95% intervals"))
    if has_medians:
        keys.append(
            Line2D(
                [],
                [],
                color=drawn.ink(),
                marker="|",
                markersize=9,
                markeredgewidth=2,
                linestyle="",
                label="median of all",
            )
        )
    if has_shared:
        hollow = key(drawn, CellMark(INKS["ink"], "o", filled=False), "")
        hollow.set_label(f"hollow: {SHARED}")
        keys.append(hollow)
    if math.isfinite(noise_floor):
        keys.append(Patch(facecolor=drawn.ink("line"), alpha=0.6, label=f"noise floor {half_width(noise_floor)}"))
    return keys


def ratio_by_size(
    frame: pd.DataFrame, ax: Ax = None, *, width: Inches = None, height: Inches = None, is_phone: bool = False
) -> Figure | None:
    """Draw the ratio to the reference as a number in a coloured box, for each cell and size.

    A panel for each phase and setting. A number in brackets is unclear or coarse; a dashed box was measured on a shared
    core. Where there is no room for all sizes, the numbers are medians over some, and cases on a shared core have rows
    of their own. `is_phone`: panels stand below each other, however high that is.
    """
    reference = reference_name(frame)
    frame = with_series(with_short_cells(frame))
    wide = width or PAGE
    own = frame[~is_reference(frame)]
    own = own[own.groupby("series")["ratio"].transform("count") > 0]
    if own.empty or not swept(own, SIZES):
        return None
    own = with_room(own, MANY if is_phone else most_rows(ax, wide, height))
    names = list(own["series"].unique())
    is_narrow = ax is not None or wide < COLUMN
    letters = min(SHORT_NAME if is_narrow else MAX_NAME, max(map(len, names)))
    inches = wide - 0.2 - LETTER * letters if ax is None else ax.get_window_extent().width / ax.figure.figure.dpi
    beside = 1 if is_phone else own["phase"].nunique()  # panels
    most = max(1, int(inches / (PAPER_BOX if is_narrow else BOX) / beside))
    varied = swept(own, SIZES)
    most_of_all = most * own["phase"].nunique()
    if columns_of(own, varied) > most_of_all:
        own = by_state(own)
        names = list(own["series"].unique())
        letters = min(SHORT_NAME if is_narrow else MAX_NAME, max(map(len, names)))
    own, over = pooled(own, lambda cases: columns_of(cases, varied) <= most_of_all)
    sizes = swept(own, SIZES)
    shown, shape = panels(own, swept(own, SETTINGS), ax, wide, is_phone=is_phone)
    if (columns := columns_of(own, sizes)) > most_of_all:
        raise ValueError(f"{columns} columns have no room: select fewer values of {sizes[-1]}, or give a larger width")
    # The phases of a suite may have other sizes, so each has columns of its own.
    keys_of = {
        phase: sorted(cases[sizes].drop_duplicates().itertuples(index=False, name=None)) or [()]
        for phase, cases in own.groupby("phase", sort=False)
    }
    widths = [len(keys_of[cases["phase"].iloc[0]]) for _, cases in shown[: shape[1]]]
    farthest = max(0.5, float(np.abs(np.log2(own["ratio"].astype(float))).max()))
    high = (phone_high(len(names)) if is_phone else rows_high(len(names), wide)) + 0.13 * len(sizes)
    with sheet(ax, wide, high * shape[0], shape, height, is_phone=is_phone, sharey=True, width_ratios=widths) as drawn:
        for axes, (title, cases) in zip(drawn.grid.flat, shown, strict=False):
            keys = keys_of[cases["phase"].iloc[0]]
            _boxes(drawn, axes, cases, names, sizes, keys, Normalize(-farthest, farthest), are_cases=not over)
            axes.set_yticks(
                range(len(names)),
                [short(name, letters) for name in names],
                fontsize=MIN_LETTERS if drawn.is_narrow else None,
            )
            drawn.title(axes, title)
        for axes in drawn.grid[:, 0]:
            axes.annotate(
                "\n".join(map(word, sizes)), (0, 1), (-5, 3.5), xycoords="axes fraction", textcoords="offset points",
                ha="right", va="bottom", fontsize=MIN_LETTERS, linespacing=1.25, color=drawn.ink("soft"),
            )  # fmt: skip
        about = ", ".join(filter(None, [f"time over {reference}", over]))
        colors = f"{about}{chr(10) if drawn.is_narrow else ': '}blue is faster, orange slower"
        if is_shared(own[own["ratio"].notna()]).any():
            colors += f"{'; ' if wide >= PAGE else chr(10)}dashed: {SHARED}"
        (drawn.figure.supxlabel if drawn.is_own else drawn.axes.set_xlabel)(colors, fontsize=drawn.small)
    return drawn.figure


def pooled(own: pd.DataFrame, fits: Callable[[pd.DataFrame], bool]) -> tuple[pd.DataFrame, str]:
    """Pool cases to median ratios over one size after the other until they fit. Returns these, and what was pooled.

    `own` has the column `series` and no references. The first of the pooled rows stands for all, so a size that is
    pooled has one value; the intervals are lost.
    """
    sizes = swept(own, SIZES)
    over = list[str]()
    while not fits(own) and len(sizes) > 1:
        axis = min(sizes, key=POOLED.index)
        sizes.remove(axis)
        over.append(axis)
        keys = ["series", "phase", *SETTINGS, *(size for size in SIZES if size not in over)]
        medians = own.groupby(keys, sort=False)["ratio"].transform("median")
        known = own.assign(ratio=medians, ratio_low=np.nan, ratio_high=np.nan, **{axis: own[axis].iloc[0]})
        own = known.drop_duplicates(keys)
    return own, f"median over {' and '.join(map(word, over))}" if over else ""


def columns_of(cases: pd.DataFrame, sizes: Sequence[str]) -> int:
    """Return how many columns the panels of all phases have beside each other: one for each combination of sizes."""
    return len(cases[["phase", *sizes]].drop_duplicates())


def _boxes(
    drawn: Sheet,
    axes: Axes,
    cases: pd.DataFrame,
    names: list[str],
    sizes: list[str],
    keys: list[tuple[Any, ...]],
    norm: Normalize,
    *,
    are_cases: bool,
) -> None:
    """Draw a box with its number for each case, over hatches where nothing was measured, and the sizes on top."""
    nothing: dict[str, Any] = {"facecolor": drawn.ink("faint"), "edgecolor": drawn.ink("line"), "hatch": "////"}
    axes.add_patch(Rectangle((-0.5, -0.5), len(keys), len(names), linewidth=0, zorder=0, **nothing))
    shown = cases[cases["ratio"].notna()]
    boxes = []
    for index, case in zip(shown.index, shown.to_dict("records"), strict=True):
        column = keys.index(tuple(case[size] for size in sizes))
        row = names.index(case["series"])
        boxes.append(Rectangle((column - 0.5, row - 0.5), 1, 1))
        is_doubtful = is_unclear(case) or is_coarse(case)
        text = f"({ratio_box(case['ratio'])})" if is_doubtful else ratio_box(case["ratio"])
        number = axes.text(column, row, text, ha="center", va="center", fontsize=MIN_LETTERS, color=ON_AREAS)
        number.set_in_layout(False)  # it is inside its box, and laying out many takes long
        if are_cases:
            mark(number, [index])
    colors = SCALE(norm(np.log2(shown["ratio"].to_numpy(dtype=float))))
    areas = axes.add_collection(PatchCollection(boxes, facecolor=colors, edgecolor=drawn.paper, linewidth=0.8))
    frames = [
        Rectangle((box.get_x() + 0.08, box.get_y() + 0.12), 0.84, 0.76)
        for box, is_dashed in zip(boxes, is_shared(shown), strict=True)
        if is_dashed
    ]
    axes.add_collection(
        PatchCollection(frames, facecolor="none", edgecolor=ON_AREAS, linewidth=0.7, linestyle=(0, (2, 2)))
    )
    if are_cases:
        mark(areas, shown.index)
    for column in range(1, len(keys)):
        if len(sizes) > 1 and keys[column][0] != keys[column - 1][0]:
            axes.axvline(column - 0.5, color=drawn.paper, linewidth=4)
    # 65536 is 64k, which a narrow column has room for.
    heads = [
        "\n".join(f"{size // 1024}k" if size >= 10_000 and size % 1024 == 0 else str(size) for size in sizes_of)
        for sizes_of in keys
    ]
    axes.set_xticks(range(len(keys)), heads, fontsize=MIN_LETTERS, linespacing=1.25)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labeltop=True)
    axes.set(xlim=(-0.5, len(keys) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.spines[:].set_visible(False)


def measured(frame: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure:
    """Draw the time of each live module over that of the reference: a row for each, from the frame of `measure`."""
    wide = width or PAGE
    outputs = parities(frame["parity"])
    is_reference = pd.Series([each.kind == "reference" for each in outputs], index=frame.index)
    points = frame[["ratio", "ratio_low", "ratio_high"]].set_axis(["value", "low", "high"], axis=1)
    shades: list[Any] = [
        INKS["ink"] if is_it else SLOWER if low > 1 else FASTER if high < 1 else INKS["soft"]
        for is_it, low, high in zip(is_reference, points["low"], points["high"], strict=True)
    ]
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
        told = ["reference" if is_it else ratio_text(case["ratio"]) + interval, duration(case["seconds"])]
        told += [ONLY_TIMES] if parity.is_only_timed else []
        told += [CACHED] if parity.kind == "cached" else []
        texts.append("   ".join(told[: 1 if wide < COLUMN else None]))
    with sheet(ax, wide, rows_high(len(frame), wide), height=height) as drawn:
        rows(drawn, drawn.axes, list(map(one_line, frame.index)), points, texts=texts, thick=2)
        ratio_axes(
            drawn,
            frame[["ratio", "ratio_low", "ratio_high"]],
            one_line(frame.index[is_reference][0]) if is_reference.any() else "the reference",
        )
        if facts := frame.attrs:  # which a selection of rows keeps, and a file does not
            drawn.title(drawn.axes, f"{facts['phase']} on {facts['device']}, {say('threads', facts['threads'])}")
    return drawn.figure
