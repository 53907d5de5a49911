"""The page of a check, with the figure of every change, and the section on the checks of a suite over time."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.report.drawing.draw import (
    PAGE,
    REFERENCE,
    Ax,
    Inches,
    log_ticks,
    most_rows,
    picture,
    rows,
    rows_high,
    sheet,
)
from rnnbench.report.drawing.marks import VERDICTS
from rnnbench.report.page.page import Page, files
from rnnbench.report.table import (
    Column,
    Lines,
    Section,
    Table,
    of,
    table,
    where_new,
)
from rnnbench.report.verdicts.verdicts import Verdicts, read
from rnnbench.report.words.names import commit, one_line, when
from rnnbench.report.words.units import (
    GLYPHS,
    MISSING,
    change,
    change_cell,
    count,
    duration,
    interval_cell,
    round_percent,
    span,
    verdict_cell,
)
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo

MARKER_OF = {
    "regressed": "^",
    "incomparable": "X",
    "undecided": "D",
    "accepted": "^",
    "improved": "v",
    "unchanged": "o",
}
ENDS = ["change", "change_low", "change_high"]
MAX_ROWS = 40  # the last row counts the others
REACH = 1.5  # times the farthest mark: the axis goes no farther, however long an interval is
MIN_REACH = 2.0  # margins from no change to the ends of the axis, at least
CHANGES = (
    "One row for each case, the worst on top: the change that its verdict speaks of, with its 95% interval. An "
    "interval that reaches the edge continues beyond it. The grey band is the margin: a change within it is no "
    "regression."
)
NOTE = (
    "Change: head over base for the typical call, or in the mean of the calls where that decides. Replicates: pairs "
    "of fresh processes, one of each side."
)
SHOWN = [
    Column("case", of("name")),
    Column("verdict", of("verdict", verdict_cell)),
    Column("change", of("change", change_cell), numeric=True),
    Column("95% interval", of(("change_low", "change_high"), interval_cell), numeric=True),
]


def render(folder: Path) -> dict[str, bytes]:
    """Return every file of the report of a check, by its path within the report's folder.

    Raises UserError if one of the check's files can't be read.
    """
    sides = {side: read_info(folder / side) for side in ("base", "head")}
    head, check = sides["head"], read(folder)
    reports = [one_line(f"rnnbench report {quote(str(folder / side))}") for side in sides]
    again = "To repeat the check, and to see the times of each side, which is a run of its own:"
    commands = Lines(again, (one_line(head.command), *reports), are_commands=True)
    measured = Section("measured", "What was compared, and where is it kept?", [commands, _sides(folder, sides)])
    commits = [f"{side} {commit(info)}" for side, info in sides.items() if commit(info)]
    warning = "" if head.status == "finished" else "this check was interrupted"
    name = one_line(head.suite)
    facts = [f"{when(head)} UTC", *commits]
    if check is None:
        answer = "This check has no verdict: it ended before there was one.", "What was measured until then is below."
        return files(Page(name, f"{name}: a check", answer, facts, warning, sections=[measured]))
    outcomes = pd.Series([row.outcome for row in check.rows], dtype=object)
    figure = changes(check.frame.assign(verdict=outcomes))
    if check.seconds is not None:
        facts.insert(1, f"measured for {duration(check.seconds)}")
    return files(
        Page(
            name,
            f"{check.suite}: base {check.base} against head {check.head}",
            list(filter(None, [check.answer, check.details, f"{check.timed}." if check.timed else ""])),
            facts,
            warning,
            top=[picture("changes", "The change of every case", CHANGES, figure)] if figure else [],
            sections=[_verdicts(check), measured],
        )
    )


def _verdicts(check: Verdicts) -> Section:
    """Return the section of the verdicts, the worst first, with what a reader must know about them."""
    frame = check.frame.assign(verdict=pd.Series([row.verdict for row in check.rows], dtype=object))
    outcomes = pd.Series([row.outcome for row in check.rows], dtype=object)
    has_margins = " to " in check.margins
    columns = [
        *SHOWN,
        *([Column("margin", of("margin", round_percent), numeric=True)] if has_margins else []),
        Column("replicates", of("replicates"), numeric=True),
        Column("why", of("why")),
    ]
    # Rows are not about cases of a run, by which a page could filter.
    shown = frame.assign(verdict=outcomes).drop(columns="case")
    breaks = where_new(outcomes.fillna(""))
    listed = table("verdicts", "The verdict on each case", NOTE, columns, shown, machine=frame, breaks=breaks)
    notes = Lines("Notes on this check:", check.notes)
    return Section("verdicts", "Which cases changed?", [notes, listed, check.method])


def _sides(folder: Path, sides: dict[str, RunInfo]) -> Table:
    """Return the table of the two runs of a check, a column each."""
    facts = {}
    for side, info in sides.items():
        worker = info.environment.get("worker") or {}
        about = f"{side} of a check: "
        facts[side] = {
            "code": next((note.removeprefix(about) for note in info.notes if note.startswith(about)), ""),
            "commit": commit(info),
            "folder": str(folder / side),
            "started": when(info),
            "status": info.status,
            "pairs": count(info.replicates),
            "python": str(worker.get("python", "")),
            "torch": str(worker.get("torch", "")),
        }
    frame = pd.DataFrame(facts).rename_axis("what").reset_index()
    cells = [Column(side, of(side, lambda value: one_line(value) or MISSING)) for side in sides]
    return table("sides", "The two sides", "", [Column("what", of("what")), *cells], frame, machine=frame)


def changes(frame: pd.DataFrame, ax: Ax = None, *, width: Inches = None, height: Inches = None) -> Figure | None:
    """Draw the change of every case with its interval, the margin as a band, and the verdict; the worst case on top.

    `frame`: that of `rnnbench.compare` for two stored runs, or some of its rows; the worst are drawn. It has one panel.
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
    points["hollow"] = shown["verdict"].isin(["undecided", "accepted"])
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
