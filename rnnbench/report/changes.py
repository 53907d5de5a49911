"""The figure of what changed from base to head: the change of each case, its interval and its verdict."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.estimate import ENDS, Estimate
from rnnbench.report.colors import VERDICTS
from rnnbench.report.drawing.draw import REFERENCE, log_ticks, most_rows, rows, rows_high
from rnnbench.report.drawing.sheet import PAGE, Ax, Inches, sheet
from rnnbench.report.words.units import GLYPHS, change, change_interval, round_percent, span

MARKER_OF = {"regressed": "^", "incomparable": "X", "undecided": "D", "improved": "v", "unchanged": "o"}
MAX_ROWS = 40  # the last row counts the others
REACH = 1.5  # times the farthest mark: the axis goes no farther, however long an interval is
MIN_REACH = 2.0  # margins from no change to the ends of the axis, at least


def changes(frame: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure | None:
    """Draw the change of each case with its interval, the margin as a band, and the verdict; the worst on top.

    `frame`: a row for each case with `name`, `verdict`, `margin`, `ratio` and `mean_ratio` with their intervals,
    `described_by`, the one of the two that is drawn, and `decided_by`. None if no case has a change of its time.
    """
    compared = frame[frame["verdict"].notna()]
    if compared.empty or not np.isfinite(compared["ratio"].astype(float)).any():
        return None
    wide = width or PAGE
    ordered, room = worst_first(described(compared)), min(MAX_ROWS, most_rows(ax, wide, height))
    shown = ordered if len(ordered) <= room else ordered[: room - 1]
    names = list(map(str, shown["name"]))
    points = pd.DataFrame(
        {
            "y": range(len(shown)),
            "shade": list(map(VERDICTS.__getitem__, shown["verdict"])),
            "marker": list(map(MARKER_OF.__getitem__, shown["verdict"])),
            "hollow": list(shown["verdict"] == "undecided"),
        }
    )
    points[["value", "low", "high"]] = shown[["change", "change_low", "change_high"]].to_numpy(dtype=float)
    with sheet(ax, wide, rows_high(len(names) + (len(ordered) > room), wide), height=height) as drawn:
        texts = [_verdict(row, is_short=drawn.is_narrow) for row in shown.to_dict("records")]
        if others := Counter(ordered["verdict"][len(shown) :]):
            names.append(
                ", ".join(f"{others[verdict]:,} {verdict}" for verdict in RANKS if others[verdict]) + " not drawn"
            )
            texts.append("")
        rows(drawn, drawn.axes, names, points[points["value"].gt(0)], texts=texts, thick=2)
        margins = shown["margin"].to_numpy(dtype=float)
        for row, margin in enumerate(margins):
            band = 1 / (1 + margin), 1 + margin
            drawn.axes.fill_betweenx([row - 0.5, row + 0.5], *band, color=drawn.ink.faint, zorder=0)
        drawn.axes.axvline(1, color=drawn.ink.text, **REFERENCE)
        logs = np.abs(np.log(points[["value", "low", "high"]].where(lambda values: values > 0)))
        farthest = min(np.nanmax(logs) * 1.05, REACH * np.nanmax(logs["value"]))
        end = math.exp(max(MIN_REACH * math.log1p(margins.max()), farthest))
        log_ticks(drawn, drawn.axes.xaxis, 1 / end, end, change)
        about = "change of the time from base to head"
        drawn.axes.set_xlabel(about if drawn.is_narrow else f"{about}: slower to the right")
        keys: list[Artist] = []
        for word in map(str, shown["verdict"].unique()):
            look: dict[str, Any] = {"color": drawn.ink.of(VERDICTS[word]), "marker": MARKER_OF[word]}
            keys.append(Line2D([], [], markersize=5, label=word, **look))
        label = f"margin {span(round_percent(margins.min()), round_percent(margins.max()))}"
        drawn.legend([*keys, Patch(facecolor=drawn.ink.faint, edgecolor=drawn.ink.line, label=label)])
    return drawn.figure


def worst_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort cases by verdict and by how much slower they are; those without a time come first in their verdict."""
    slower = described(frame)["change"].astype(float)
    keys = pd.DataFrame({"rank": frame["verdict"].map(RANKS), "slower": -slower.fillna(math.inf)})
    return frame.loc[keys.sort_values(["rank", "slower"], kind="stable").index]


def described(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of verdicts with the columns `change`, `change_low` and `change_high` of the described time."""
    is_mean = frame["described_by"].eq("mean_ratio")
    return frame.assign(
        **{f"change{end}": frame[f"mean_ratio{end}"].where(is_mean, frame[f"ratio{end}"]) for end in ENDS}
    )


def _verdict(row: Mapping[Any, Any], *, is_short: bool) -> str:
    """Write a verdict: its glyph, its word, what decided, and the change."""
    estimate = Estimate(*(float(row[f"change{end}"]) for end in ENDS))
    told = change(estimate.value) or "without a time"
    if is_short:
        return f"{GLYPHS[row['verdict']]} {told}"
    which = "in the mean" if row["described_by"] == "mean_ratio" else ""
    how = f"by {row['decided_by']}" if row["decided_by"] in ("counts", "instructions") else which
    return "  ".join(filter(None, [GLYPHS[row["verdict"]], row["verdict"], how, told, change_interval(estimate)]))
