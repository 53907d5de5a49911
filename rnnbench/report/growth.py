"""How the ratio, or the time of a call, grows with each size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.analysis.summary import SHARED
from rnnbench.report.drawing.draw import REFERENCE, TWO, key, limits, lines, log_ticks, size_ticks
from rnnbench.report.drawing.marks import HUES, CellMark, hues_of, marks, plain_and_fastest
from rnnbench.report.drawing.sheet import COLUMN, PAGE, Ax, Inches, Sheet, refuse_several, sheet
from rnnbench.report.facts import is_shared, reference_name
from rnnbench.report.words.names import (
    SETTINGS,
    SIZES,
    is_reference,
    one_line,
    say,
    swept,
    with_series,
    with_short_cells,
    word,
)
from rnnbench.report.words.units import (
    duration_tick,
    ratio_tick,
)
from rnnbench.store.parity import parities
from rnnbench.store.records import TORCH_OWN

Quantity = Literal["ratio", "seconds"]
GROWING_SIZES = ("batch_size", "seq_len", "hidden_size")
REACH_OF_LINES = 3  # times the farthest mark: an axis goes no farther, however long an interval is


def scaling(
    frame: pd.DataFrame,
    ax: Ax = None,
    *,
    width: Inches = None,
    height: Inches = None,
    value: Quantity | None = None,
    along: Literal["batch_size", "seq_len", "hidden_size"] | None = None,
    least: int = 2,
    is_apart: bool = False,
) -> Figure | None:
    """Draw how the ratio to the reference, or the time, grows with batch, length and hidden size, on one scale.

    `value`: `ratio` (the default, if any is known) or `seconds` per call; `along`: the only size to vary. A panel for
    each phase and size of `least` values or more, with all cells in it, and for times their references too. In a column
    of a paper it is the size with the most values. The other sizes are held at those that stand below the panel: select
    rows for others. A ring is around a mark that was measured on a shared core. `least`: values of a size that has a
    panel; `is_apart`: each panel is a figure of its own. The result of `rnnbench.sweep` has it as `.plot("scaling")`.
    """
    if value not in (None, "ratio", "seconds"):
        raise ValueError(f"value: expected 'ratio' or 'seconds', got {value!r}")
    reference = reference_name(frame)
    frame = with_series(with_short_cells(frame))
    value = value or ("ratio" if frame.loc[~is_reference(frame), "ratio"].notna().any() else "seconds")
    # Torch's own cells take as long as a loop.
    frame = frame[frame[value].notna() & (is_reference(frame) | ~frame["implementation"].isin(list(TORCH_OWN)))]
    if settings := swept(frame, SETTINGS):
        keys = frame[settings].apply(tuple, axis=1)
        frame = frame[keys == keys.value_counts(sort=False).idxmax()]
    measured = plain_and_fastest(frame if value == "seconds" else frame[~is_reference(frame)], value)
    sizes = swept(measured, SIZES)
    looks = marks(measured)
    ways = [
        axis for axis in GROWING_SIZES if axis in sizes and along in (None, axis) and measured[axis].nunique() >= least
    ]
    content = SizeLines(measured, sizes, ways, looks, value, reference, least, are_cases=True)
    return over_sizes(content, ax, width, height, is_apart=is_apart)


@dataclass(frozen=True)
class SizeLines:
    """What a figure over sizes shows: a line for each `series` of the cases."""

    cases: pd.DataFrame
    sizes: Sequence[str]  # all that vary; a panel holds each but its own
    ways: Sequence[str]  # those of them that have panels
    look_of: Mapping[str, CellMark]  # by series
    value: Quantity
    reference: str  # to what the ratios are
    least: int = 2  # values of its size, for a panel
    are_cases: bool = False  # the index has rows of the summary


def over_sizes(content: SizeLines, ax: Ax, width: Inches, height: Inches, *, is_apart: bool = False) -> Figure | None:
    """Draw a line for each series over each of the sizes `ways`, a panel for each phase and size.

    The other sizes are held where most values were measured, at the smallest of these, which stands below the panel.
    A panel has `least` values of its size or more; None if there is no panel. In a column of a paper, there is one size
    only, that with the most values.
    """
    cases = content.cases
    ways = content.ways
    value = content.value
    wide = width or PAGE
    phases = list(dict.fromkeys(cases["phase"]))
    if ax is None and wide < COLUMN and not is_apart:
        ways = sorted(ways, key=lambda axis: -cases[axis].nunique())[:1]
    selections = {
        (phase, axis): _held(cases[cases["phase"] == phase], axis, content.sizes) for axis in ways for phase in phases
    }
    by_panel = {
        place: selection for place, selection in selections.items() if selection[0][place[1]].nunique() >= content.least
    }
    if not by_panel:
        return None
    columns = 1 if is_apart else len({phase for phase, _ in by_panel})
    refuse_several(ax, len(by_panel), ["phase", f"size (along={ways[0]!r})"])
    shape = math.ceil(len(by_panel) / columns), columns
    drawn_cases = pd.concat([cases_of_panel for cases_of_panel, _ in by_panel.values()])
    has_states = "state" in drawn_cases and bool(is_shared(drawn_cases).any())
    ends = drawn_cases[[value, f"{value}_low", f"{value}_high"]]
    ends = ends.clip(drawn_cases[value].min() / REACH_OF_LINES, drawn_cases[value].max() * REACH_OF_LINES)
    with sheet(ax, wide, 0.4 + 2.3 * shape[0], shape, height, is_apart=is_apart, sharey=True) as canvas:
        for axes, ((phase, axis), (cases_of_panel, where)) in zip(canvas.grid.flat, by_panel.items(), strict=False):
            names = {"series": "line", axis: "x", f"{value}_low": "low", f"{value}_high": "high"}
            points = (
                cases_of_panel.rename(columns=names).assign(value=cases_of_panel[value]).sort_values("x", kind="stable")
            )
            lines(canvas, axes, points, content.look_of, are_cases=content.are_cases)
            if has_states:
                _rings(canvas, axes, points[is_shared(points)])
            if value == "ratio":
                axes.axhline(1, color=canvas.ink(), **REFERENCE)
            size_ticks(canvas, axes, sorted(points["x"].unique()))
            name = f"{word(axis)}, two values only" if points["x"].nunique() == TWO else word(axis)
            axes.set_xlabel(f"{name}\n({where})" if where else name)
            canvas.title(axes, str(phase))
        around = 1 if value == "ratio" else None
        tick = ratio_tick if value == "ratio" else duration_tick
        for axes in canvas.grid[:, 0]:
            log_ticks(canvas, axes.yaxis, *limits(ends, around=around, margin=1.25), tick)
            axes.set_ylabel(f"time over {content.reference}" if value == "ratio" else "time per call")
        keys = [key(canvas, content.look_of[name], name) for name in map(str, drawn_cases["series"].unique())]
        if has_states:
            keys.append(Line2D([], [], color=canvas.ink(), label=f"ring: {SHARED}", **_ring(canvas)))
        canvas.legend(keys)
    return canvas.figure


def _rings(canvas: Sheet, axes: Axes, points: pd.DataFrame) -> None:
    """Draw a ring around each mark, since whether a mark is filled tells the implementation here."""
    axes.plot(points["x"], points["value"], color=canvas.ink(), **_ring(canvas))


def _ring(canvas: Sheet) -> dict[str, Any]:
    size = 7 if canvas.is_narrow else 9
    return {"linestyle": "", "marker": "o", "markersize": size, "markerfacecolor": "none", "markeredgewidth": 0.8}


def _held(cases: pd.DataFrame, axis: str, sizes: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Return the cases that differ in one size alone, and in words where the other sizes are held."""
    others = [other for other in sizes if other != axis and cases[other].nunique() > 1]
    if not others:
        return cases, ""
    values = cases.groupby([*others, "series"], sort=True, observed=True)[axis].nunique()
    first = values[values > 1].groupby(level=others).sum().idxmax() if (values > 1).any() else values.index[0][:-1]
    at = first if isinstance(first, tuple) else (first,)
    selection = cases[cases[others].eq(list(at)).all(axis=1)]
    words = (say(name, at) if name in SIZES else f"{word(name)} {at}" for name, at in zip(others, at, strict=True))
    return selection[selection.groupby("series")[axis].transform("nunique") > 1], ", ".join(words)


def of_sweep(
    frame: pd.DataFrame,
    *,
    ax: Ax = None,
    width: Inches = None,
    height: Inches = None,
    value: Quantity = "ratio",
    along: str | None = None,
) -> Figure | None:
    """Draw the ratios of live modules, or their times, over the sizes that were swept; a panel for each phase and size.

    `frame`: that of `sweep`, whose sizes are the columns before `module`; `along`: the only size to vary. None if no
    size has two measured values.
    """
    axes = [str(axis) for axis in frame.columns[: list(frame.columns).index("module")]]
    of_reference = [parity.kind == "reference" for parity in parities(frame["parity"])]
    is_shown = ~pd.Series(of_reference, index=frame.index, dtype=bool) | (value == "seconds")
    measured = frame[frame["seconds"].notna() & is_shown]
    threads = ["chosen by torch" if pd.isna(each) else f"{each:g}" for each in measured["threads"]]
    cases = measured.assign(series=list(map(one_line, measured["module"])), threads=threads)
    varied = [axis for axis in axes if axis != "phase" and cases[axis].nunique() > 1]
    numbers = [axis for axis in varied if cases[axis].dtype.kind in "iuf"]
    if along not in (None, *numbers):
        raise ValueError(f"along: expected one of {', '.join(numbers) or 'no size'}, found {along!r}")
    hues = hues_of(measured["module"].astype(str))
    looks = {one_line(name): CellMark(HUES[hue], marker, filled=True) for name, (hue, marker) in hues.items()}
    ways = [along] if along else numbers
    content = SizeLines(cases, varied, ways, looks, value, "the reference")
    return over_sizes(content, ax, width, height)
