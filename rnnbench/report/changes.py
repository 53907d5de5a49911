"""The figure of what changed from base to head: the change of each case, its interval and its verdict."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.report.colors import VERDICTS
from rnnbench.report.drawing.draw import REFERENCE, log_ticks, most_rows, rows, rows_high
from rnnbench.report.drawing.sheet import PAGE, Ax, Inches, sheet
from rnnbench.report.words.units import GLYPHS, change, interval_cell, round_percent, span

MARKER_OF = {"regressed": "^", "incomparable": "X", "undecided": "D", "improved": "v", "unchanged": "o"}
ENDS = ["change", "change_low", "change_high"]
MAX_ROWS = 40  # the last row counts the others
REACH = 1.5  # times the farthest mark: the axis goes no farther, however long an interval is
MIN_REACH = 2.0  # margins from no change to the ends of the axis, at least


def changes(frame: pd.DataFrame, *, ax: Ax = None, width: Inches = None, height: Inches = None) -> Figure | None:
    """Draw the change of each case with its interval, the margin as a band, and the verdict; the worst on top.

    `frame`: that of `Verdicts`. None if no case has a change of its time.
    """
    compared = frame[frame["verdict"].notna()]
    if compared["change"].isna().all():
        return None
    # What has no time comes first in its verdict.
    ranked = compared.assign(rank=compared["verdict"].map(RANKS), faster=-compared["change"].fillna(math.inf))
    ordered = ranked.sort_values(["rank", "faster"], kind="stable")
    wide = width or PAGE
    room = min(MAX_ROWS, most_rows(ax, wide, height))
    shown = ordered if len(ordered) <= room else ordered[: room - 1]
    points = shown[ENDS].set_axis(["value", "low", "high"], axis=1).assign(y=range(len(shown)))
    points["shade"], points["marker"] = (list(shown["verdict"].map(looks)) for looks in (VERDICTS, MARKER_OF))
    points["hollow"] = shown["verdict"].eq("undecided")
    names = list(map(str, shown["name"]))
    with sheet(ax, wide, rows_high(len(names) + (len(ordered) > room), wide), height=height) as drawn:
        texts = [_verdict(row, is_short=drawn.is_narrow) for row in shown.to_dict("records")]
        if others := Counter(ordered["verdict"][len(shown) :]):
            names.append(f"{', '.join(f'{others[word]:,} {word}' for word in RANKS if others[word])} not drawn")
            texts.append("")
        rows(drawn, drawn.axes, names, points[points["value"].notna()], texts=texts, thick=2)
        for row, margin in enumerate(shown["margin"]):
            band = 1 / (1 + margin), 1 + margin
            drawn.axes.fill_betweenx([row - 0.5, row + 0.5], *band, color=drawn.ink("faint"), zorder=0)
        drawn.axes.axvline(1, color=drawn.ink(), **REFERENCE)
        logs = np.abs(np.log(points[["value", "low", "high"]].where(lambda values: values > 0)))
        farthest = min(np.nanmax(logs) * 1.05, REACH * np.nanmax(logs["value"]))
        end = math.exp(max(MIN_REACH * math.log1p(shown["margin"].max()), farthest))
        log_ticks(drawn, drawn.axes.xaxis, 1 / end, end, change)
        about = "change of the time from base to head"
        drawn.axes.set_xlabel(about if drawn.is_narrow else f"{about}: slower to the right")
        label = f"margin {span(*map(round_percent, (shown['margin'].min(), shown['margin'].max())))}"
        band_key = Patch(facecolor=drawn.ink("faint"), edgecolor=drawn.ink("line"), label=label)
        looks = {word: drawn.ink(VERDICTS[word]) for word in shown["verdict"].unique()}
        marks = [Line2D([], [], color=looks[word], marker=MARKER_OF[word], markersize=5, label=word) for word in looks]
        drawn.legend([*marks, band_key])
    return drawn.figure


def _verdict(row: Mapping[Any, Any], *, is_short: bool) -> str:
    """Write a verdict: its glyph, its word, what decided, and the change."""
    told = change(row["change"]) or "without a time"
    if is_short:
        return f"{GLYPHS[row['verdict']]} {told}"
    witnesses = {"counts": "by counts", "instructions": "by instructions"}
    how = witnesses.get(row["decided_by"], "in the mean" if row["described_by"] == "mean_ratio" else "")
    interval = interval_cell(row["change_low"], row["change_high"]) if row["change"] > 0 else ""
    return "  ".join(filter(None, [GLYPHS[row["verdict"]], row["verdict"], how, told, interval]))
