"""The figures of live modules: those of `rnnbench.measure`, `sweep` and `fastest`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnbench.report.colors import FASTER, HUES, INKS, SLOWER, Shade
from rnnbench.report.drawing.draw import (
    REFERENCE,
    limits,
    lines,
    log_ticks,
    rows,
    rows_high,
    size_ticks,
)
from rnnbench.report.drawing.marks import MARKERS, OF_TORCH, CellMark, hues_of
from rnnbench.report.drawing.sheet import PAGE, Ax, Inches, Sheet, plain, refuse_several, sheet
from rnnbench.report.words.live import AS_GIVEN
from rnnbench.report.words.names import one_line, say, word
from rnnbench.report.words.units import digits, duration, duration_tick, ratio, ratio_tick, span

MAX_LINES = 24  # of a panel
WAYS = {"hoisted": "s", "torch.nn": "d", "compiled": "^", "prepacked": "o"}  # the mark of each way to run a module


def _shade(low: float, high: float) -> Shade:
    return SLOWER if low > 1 else FASTER if high < 1 else INKS["soft"]


def _interval(row: Mapping[Any, Any]) -> str:
    low, high = row["ratio_low"], row["ratio_high"]
    return ratio(row["ratio"]) + ("" if math.isnan(low) else f" [{span(digits(low), digits(high), ', ')}]")


def _ratio_axis(drawn: Sheet, frame: pd.DataFrame, reference: str) -> None:
    axes = drawn.axes
    axes.axvline(1, color=drawn.ink.text, **REFERENCE)
    log_ticks(axes.xaxis, *limits(frame, around=1), ratio_tick)
    axes.set_xlabel(
        f"time over {reference}" if drawn.is_narrow else f"time per call over that of {reference} (log scale)"
    )


def measured(frame: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure:
    """Draw the time of each live module over that of the reference: a row for each, from the frame of `measure`."""
    facts, wide = frame.attrs, width or PAGE
    names = [one_line(name) for name in frame.index]
    is_reference = [name == facts["reference"] for name in frame.index]
    texts = [
        "   ".join(["reference" if is_one else _interval(row), duration(row["seconds"]), *_times_only(row)])
        for row, is_one in zip(frame.to_dict("records"), is_reference, strict=True)
    ]
    with sheet(ax, wide, rows_high(len(names), wide), height=height) as drawn:
        texts = [text.partition(" [")[0].partition("   ")[0] if drawn.is_narrow else text for text in texts]
        ends = zip(frame["ratio_low"], frame["ratio_high"], is_reference, strict=True)
        colors = [drawn.ink.of(INKS["ink"] if is_one else _shade(low, high)) for low, high, is_one in ends]
        points = pd.DataFrame(
            {
                "y": range(len(names)),
                "value": frame["ratio"],
                "low": frame["ratio_low"],
                "high": frame["ratio_high"],
                "color": colors,
                "marker": [OF_TORCH if is_one else "o" for is_one in is_reference],
                "face": [
                    drawn.ink.paper if "times only" in parity else color
                    for parity, color in zip(frame["parity"], colors, strict=True)
                ],
            }
        )
        rows(drawn, drawn.axes, names, points, texts=texts, thick=2)
        _ratio_axis(drawn, frame[["ratio", "ratio_low", "ratio_high"]], one_line(facts["reference"]))
        where = f"{facts['phase']} on {facts['device']}, {say('threads', facts['threads'])}"
        drawn.title(drawn.axes, where)
    return drawn.figure


def _times_only(row: Mapping[Any, Any]) -> list[str]:
    return ["times only"] if "times only" in row["parity"] else []


def swept(
    frame: pd.DataFrame,
    axes: Sequence[str],
    *,
    ax: Ax = None,
    width: Inches = None,
    height: Inches = None,
    value: Literal["ratio", "seconds"] = "ratio",
    along: str | None = None,
) -> Figure:
    """Draw the ratios of live modules, or their times, over a size that was swept; a panel for each phase.

    `axes`: the sizes of the frame; `along` is by default the one with the most values. A line for each module at each
    combination of the other sizes: the colour tells the module, the marker the other sizes. Raises ValueError if
    nothing was measured, no size is a number, or there are too many lines or panels.
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
    phases, wide = list(dict.fromkeys(measured["phase"])), width or PAGE
    refuse_several(ax, measured, ["phase"], len(phases))
    others = [axis for axis in axes if axis not in (along, "phase") and measured[axis].nunique(dropna=False) > 1]
    settings = [tuple(values) for values in measured[others].astype(object).to_numpy()]
    named = [", ".join([str(module), *(f"{word(axis)} {at}" for axis, at in zip(others, values, strict=True))])
             for module, values in zip(measured["module"], settings, strict=True)]  # fmt: skip
    if len(set(named)) > MAX_LINES:
        widest = max(others, key=lambda axis: measured[axis].nunique(), default="module")
        raise ValueError(
            f"{len(set(named))} lines are too many for one figure (at most {MAX_LINES}): select some, such as "
            f"frame[frame[{widest!r}] == {plain(measured[widest].iloc[0])!r}], and draw them"
        )
    hues, numbers_of = (
        hues_of(measured["module"].astype(str)),
        {values: n for n, values in enumerate(dict.fromkeys(settings))},
    )
    look_of = {
        name: CellMark(
            HUES[hues[str(module)][0]],
            MARKERS[numbers_of[values]] if len(numbers_of) > 1 else hues[str(module)][1],
            filled=True,
        )
        for name, module, values in zip(named, measured["module"], settings, strict=True)
    }
    points = measured.assign(
        line=named,
        x=measured[along],
        value=measured[value],
        low=measured[f"{value}_low"],
        high=measured[f"{value}_high"],
    )
    with sheet(ax, wide, 2.9, (1, len(phases)), height, sharey=True) as drawn:
        handles: dict[str, Artist] = {}
        for panel, phase in zip(drawn.grid[0], phases, strict=True):
            own = points[points["phase"] == phase].sort_values("x", kind="stable")
            handles |= {str(key.get_label()): key for key in lines(drawn, panel, own, look_of)}
            if value == "ratio":
                panel.axhline(1, color=drawn.ink.text, **REFERENCE)
            size_ticks(panel, sorted(own["x"].unique()))
            panel.set_xlabel(word(along))
            drawn.title(panel, str(phase))
        ends = limits(points[["value", "low", "high"]], around=1 if value == "ratio" else None)
        log_ticks(drawn.axes.yaxis, *ends, ratio_tick if value == "ratio" else duration_tick)
        drawn.axes.set_ylabel("time over that of the reference" if value == "ratio" else "time per call")
        drawn.legend(list(handles.values()))
    return drawn.figure


def ways(table: pd.DataFrame, given: str, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure:
    """Draw the time of each way to run a module over that of the module as given (`given`): a row for each shape.

    `table`: `FastestModule.frame`. The chosen way is filled. Raises ValueError if nothing was timed.
    """
    timed, wide = table[table["seconds"].notna()], width or PAGE
    if timed.empty:
        raise ValueError("nothing was timed, so there is nothing to draw: these ways are those of an earlier search")
    shapes = timed.groupby(["phase", "batch_size", "seq_len"], sort=False)
    chosen = timed[timed["is_chosen"]].assign(y=shapes.ngroup()).drop_duplicates("y").set_index("y")
    names = [f"batch {batch}, length {length}" for (_, batch, length), _ in shapes]
    texts = [
        f"{row['way']} {'' if row['way'] == AS_GIVEN else _interval(row)}   {duration(row['seconds'])}"
        for row in chosen.sort_index().to_dict("records")
    ]
    with sheet(ax, wide, rows_high(len(names), wide), height=height) as drawn:
        texts = [text.partition(" [")[0] if drawn.is_narrow else text for text in texts]
        tried = timed[timed["way"] != AS_GIVEN]
        colors = [
            drawn.ink.of(_shade(low, high)) for low, high in zip(tried["ratio_low"], tried["ratio_high"], strict=True)
        ]
        points = pd.DataFrame(
            {
                "y": shapes.ngroup()[tried.index],
                "value": tried["ratio"],
                "low": tried["ratio_low"],
                "high": tried["ratio_high"],
                "color": colors,
                "marker": [WAYS[way] for way in tried["way"]],
                "face": [
                    color if is_best else drawn.ink.paper
                    for color, is_best in zip(colors, tried["is_chosen"], strict=True)
                ],
            }
        )
        rows(drawn, drawn.axes, names, points, texts=texts)
        _ratio_axis(drawn, tried[["ratio"]], "the module as given")
        first = timed.iloc[0]
        phases = " and ".join(dict.fromkeys(timed["phase"]))
        drawn.title(
            drawn.axes, f"{one_line(given)}: {phases} on {first['device']}, {say('threads', int(first['threads']))}"
        )
        known = [way for way in WAYS if way in set(tried["way"])]
        hollow: dict[str, Any] = {"color": drawn.ink.soft, "markerfacecolor": drawn.ink.paper, "linestyle": ""}
        handles = [Line2D([], [], marker=WAYS[way], label=way, **hollow) for way in known]
        drawn.legend([*handles, Line2D([], [], marker="o", color=drawn.ink.soft, linestyle="", label="filled: chosen")])
    return drawn.figure
