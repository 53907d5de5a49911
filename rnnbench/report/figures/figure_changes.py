"""Figure: the change of every case of a check with its interval, the margin and the verdict; the worst case on top."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.estimate import ENDS, Estimate
from rnnbench.report.colors import INKS, VERDICTS
from rnnbench.report.figures.drawing.canvas import beside, fixed_ticks, short
from rnnbench.report.figures.drawing.ink import Ink
from rnnbench.report.figures.drawing.sheet import Sheet, sheet
from rnnbench.report.words.changes import GLYPHS, change, change_interval
from rnnbench.report.words.units import round_percent, span

MARKER_OF = {"regressed": "^", "incomparable": "X", "undecided": "D", "improved": "v", "unchanged": "o"}
MAX_ROWS = 40  # cases; of more, the last are counted
WIDTH = 10.2  # inches
NARROW, NARROWEST = 7.5, 5.0  # inches; figures that are narrower have shorter texts
MAX_NAME, SHORT_NAME, SHORTEST_NAME = 56, 26, 18  # letters of a case's name
OFFSET = 0.16  # of the typical call above the middle of its row, and of the mean below
REACH = 1.3  # times the farthest mark: longer intervals are cut there, and continue beyond
MIN_REACH = 2.0  # margins from the middle to the ends of the axis, at least
FASTER_TICKS = (0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.8, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
SLOWER_TICKS = (1.005, 1.01, 1.02, 1.03, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100)
MIN_APART = 1 / 14  # of the axis, between two ticks


def render(
    frame: pd.DataFrame, *, rows: int = MAX_ROWS, ax: Axes | None = None, width: float | None = None
) -> Figure | None:
    """The figure, or None if no case has a change of its time. `width` in inches.

    `frame` has a row for each case: `name`; `verdict`; `margin` (0.025); `ratio` of its typical call and
    `mean_ratio` of their mean (1.05 is 5% slower), each with the ends `_low` and `_high` of its interval, NaN where
    they are not known; `described_by`, the one of the two that describes the time; and `decided_by`, which may also be
    `counts` or `instructions`. At most `rows` are drawn.
    """
    compared = frame[frame["verdict"].notna()]
    if compared.empty or not np.isfinite(compared["ratio"].astype(float)).any():
        return None
    ordered = worst_first(compared)
    shown = ordered.head(rows)
    left, right = _limits(shown)
    wide = width or WIDTH
    height = 1.15 + 0.3 * (len(shown) + (len(ordered) > rows))
    with sheet(ax, (wide, height)) as drawn:
        axes, ink = drawn.axes, drawn.ink
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        for y, row in enumerate(shown.to_dict("records")):
            _row(drawn, y, row, (left, right), wide)
        if len(ordered) > rows:
            _count_others(drawn, ordered.iloc[rows:], len(shown))
        axes.axvline(1, color=ink.text, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        fixed_ticks(axes.xaxis, _ticks(left, right, MIN_APART * max(1, NARROW / wide)), _tick)
        letters = MAX_NAME if wide >= NARROW else SHORT_NAME if wide >= NARROWEST else SHORTEST_NAME
        axes.set_yticks(range(len(shown)), [short(str(name), letters) for name in shown["name"]])
        axes.set_ylim(len(shown) - 0.4 + (len(ordered) > rows), -0.6)
        axes.set_xlabel("change of the time from base to head: slower to the right" if wide >= NARROW else "change")
        axes.grid(axis="x")
        drawn.quiet(axes)
        drawn.legend(_legend(shown, ink), 4 if wide >= NARROW else 1, "above")
    return drawn.figure


def _tick(ratio: float) -> str:
    return change(ratio) or "0%"


def worst_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Cases by verdict and by how much slower they are; those without a time come first in their verdict."""
    rank = frame["verdict"].map(RANKS)
    slowest = -pd.Series(
        np.where(frame["described_by"] == "mean_ratio", frame["mean_ratio"], frame["ratio"]), frame.index
    )
    keys = pd.DataFrame({"rank": rank, "slowest": slowest.astype(float).fillna(-math.inf)})
    return frame.loc[keys.sort_values(["rank", "slowest"], kind="stable").index]


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """The ends of the axis: equally far from no change, with room for marks and for intervals that are not too long."""
    columns = [f"{ratio}{end}" for ratio in ("ratio", "mean_ratio") for end in ENDS]
    values = frame[columns].to_numpy(dtype=float)
    logs = np.abs(np.log(np.where(values > 0, values, np.nan)))
    marks, ends = (float(np.nanmax(part)) for part in (logs[:, ::3], logs))
    farthest = max(MIN_REACH * math.log1p(frame["margin"].max()), min(ends * 1.05, REACH * marks))
    return math.exp(-farthest), math.exp(farthest)


def _row(drawn: Sheet, y: int, row: dict[Any, Any], limits: tuple[float, float], wide: float) -> None:
    """The margin as a band, both ratios with their intervals, and the verdict in words on the right."""
    axes, ink, verdict, edge = drawn.axes, drawn.ink, row["verdict"], 1 + row["margin"]
    color = ink.of(VERDICTS[verdict])
    axes.fill_betweenx([y - 0.5, y + 0.5], 1 / edge, edge, color=ink.of(INKS["grid"]), linewidth=0, zorder=0)
    by_mean = row["described_by"] == "mean_ratio"
    for ratio, offset, decides in (("ratio", -OFFSET, not by_mean), ("mean_ratio", OFFSET, by_mean)):
        estimate = _estimate(row, ratio)
        if math.isfinite(estimate.value) and estimate.value > 0:
            marker = MARKER_OF[verdict] if decides else "|"
            _mark(drawn, y + offset, estimate, limits, color, marker, decides=decides)
    deciding = _estimate(row, "mean_ratio" if by_mean else "ratio")
    how = {"counts": "by counts", "instructions": "by instructions"}.get(row["decided_by"], "")
    text = [verdict, how or ("in the mean" if by_mean else "")] if wide >= NARROWEST else []
    if math.isfinite(deciding.value):
        text += [change(deciding.value), "" if wide < NARROW else change_interval(deciding)]
    else:
        text += ["without a time"]
    beside(axes, y, 8, GLYPHS[verdict], color=ink.text, fontsize=drawn.small)
    weight = "bold" if verdict in ("regressed", "improved") else "normal"
    beside(axes, y, 22, "  ".join(filter(None, text)), color=ink.text, fontsize=drawn.small, weight=weight)


def _mark(
    drawn: Sheet, y: float, estimate: Estimate, limits: tuple[float, float], color: str, marker: str, *, decides: bool
) -> None:
    """One ratio: the one that decides in full, the other pale."""
    axes = drawn.axes
    low, high = (min(max(end, limits[0]), limits[1]) for end in (estimate.lower, estimate.upper))
    if math.isfinite(low) and math.isfinite(high):
        axes.plot(
            [low, high], [y, y], color=color, linewidth=2.2 if decides else 1, alpha=1 if decides else 0.6, zorder=2
        )
    value = min(max(estimate.value, limits[0]), limits[1])
    is_open = marker == "D"
    axes.plot(
        value,
        y,
        marker,
        color=color,
        markerfacecolor=drawn.ink.paper if is_open else color,
        markersize=6 if decides else 5,
        markeredgewidth=1.3,
        zorder=3,
        clip_on=False,
    )


def _estimate(row: dict[Any, Any], ratio: str) -> Estimate:
    return Estimate(*(float(row[f"{ratio}{end}"]) for end in ENDS))


def _count_others(drawn: Sheet, others: pd.DataFrame, y: int) -> None:
    """Say how many cases are not drawn, by verdict."""
    axes = drawn.axes
    counts = Counter(others["verdict"])
    text = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in RANKS if counts[verdict])
    where = axes.get_yaxis_transform()
    axes.text(0.5, y, f"not drawn: {text}", transform=where, ha="center", va="center", fontsize=drawn.small)


def _ticks(left: float, right: float, apart: float) -> list[float]:
    """Round changes with room between them (`apart`, of the axis), from no change outwards on both sides."""
    room = apart * math.log(right / left)
    kept = [1.0]
    for ticks in (FASTER_TICKS, SLOWER_TICKS):
        last = 1.0
        for tick in ticks:
            if left <= tick <= right and abs(math.log(tick / last)) >= room:
                kept.append(tick)
                last = tick
    return sorted(kept)


def _legend(frame: pd.DataFrame, ink: Ink) -> list[Line2D | Patch]:
    margins = span(round_percent(frame["margin"].min()), round_percent(frame["margin"].max()))

    def line(label: str, marker: str, **how: Any) -> Line2D:
        return Line2D([], [], color=ink.text, marker=marker, markersize=5, label=label, **how)

    return [
        line("what decides, with its 95% interval", "o", linewidth=2.2),
        line("the other of typical call and mean", "|", linewidth=1, alpha=0.6),
        Patch(facecolor=ink.of(INKS["grid"]), edgecolor=ink.line, label=f"margin: {margins}"),
    ]
