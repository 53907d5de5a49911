"""The page of a check, with the figure of every change, and the section on the checks of a suite over time."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.comparison import RANKS
from rnnbench.report.drawing.draw import REFERENCE, log_ticks, rows, texts_beside
from rnnbench.report.drawing.marks import VERDICTS
from rnnbench.report.drawing.pictures import picture
from rnnbench.report.drawing.sheet import PAGE, PANEL, Ax, Inches, most_rows, rows_high, sheet
from rnnbench.report.page.page import Page
from rnnbench.report.table import (
    Bar,
    Column,
    Lines,
    Section,
    Table,
    table,
    text_of,
    where_new,
)
from rnnbench.report.verdicts.verdicts import Verdicts, outcomes_of, read_verdicts
from rnnbench.report.words.names import commit, names, one_line, when
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
from rnnbench.store.run_info import OF_SIDE, RunInfo, of_kinds

MARKER_OF = {
    "regressed": "^",
    "incomparable": "X",
    "undecided": "D",
    "accepted": "^",
    "improved": "v",
    "unchanged": "o",
}
CHANGE_ENDS = ["change", "change_low", "change_high"]
MAX_DRAWN_ROWS = 40  # the last row counts the others
REACH_OF_CHANGES = 1.5  # times the farthest mark: the axis goes no farther, however long an interval is
MIN_REACH = 2.0  # margins from no change to the ends of the axis, at least
CAPTION_OF_CHANGES = (
    "One row for each case, the worst on top: the change that its verdict speaks of, with its 95% interval. An "
    "interval that reaches the edge continues beyond it. The grey band is the margin: a change within it is no "
    "regression."
)
TITLE = "The verdict on each case"
NOTE_ON_VERDICTS = (
    "Beside each change its 95% interval is drawn, slower to the right; the margin is grey. Replicates: pairs of fresh "
    "processes, one of each side."
)
CASE_COLUMN = Column("case", text_of("name"))
VERDICT_COLUMN = Column("verdict", text_of("verdict", verdict_cell))
CHANGE_COLUMN = Column("change", text_of("change", change_cell), numeric=True)
INTERVAL_COLUMN = Column("95% interval", text_of(("change_low", "change_high"), interval_cell), numeric=True)
COLUMNS_OF_VERDICTS = [CASE_COLUMN, VERDICT_COLUMN, CHANGE_COLUMN, INTERVAL_COLUMN]


def page_of(folder: Path) -> Page:
    """Return the page of a check.

    Raises UserError if one of the check's files can't be read.
    """
    sides = {side: read_info(folder / side) for side in ("base", "head")}
    head = sides["head"]
    check = read_verdicts(folder)
    reports = [one_line(f"rnnbench report {quote(str(folder / side))}") for side in sides]
    again = "To repeat the check, and to see the times of each side, which is a run of its own:"
    commands = Lines(again, (one_line(head.command), *reports), are_commands=True)
    measured = Section("measured", "What was compared, and where are the files?", [commands, _sides(folder, sides)])
    commits = [f"{side} {commit(info)}" for side, info in sides.items() if commit(info)]
    warning = "" if head.status == "finished" else "this check was interrupted"
    name = one_line(head.suite)
    facts = [f"{when(head)} UTC", *commits]
    if check is None:
        answer = "This check has no verdict: it ended before there was one.", "What was measured until then is below."
        return Page(name, f"{name}: a check", answer, facts, warning=warning, sections=[measured])
    if check.seconds is not None:
        facts.insert(1, f"measured for {duration(check.seconds)}")
    listed = _with_short_names(check)
    return Page(
        name,
        f"{check.suite}: base {check.base} against head {check.head}",
        lead(check),
        facts,
        warning=warning,
        top=[_verdicts(listed), Lines("Notes on this check:", check.notes)],
        sections=[measured, *_figure(listed)],
    )


def _with_short_names(check: Verdicts) -> Verdicts:
    """Return a check whose cases have names without what all share, which stands below the table."""
    labels, shared = names([row.case for row in check.findings], is_short=True)
    return replace(check, names=labels, shared=shared)


def lead(check: Verdicts) -> list[str]:
    """Return the answer of a check's page: what the terminal says, and how many cases may run changed code."""
    timed = f"{check.timed}." if check.timed else ""
    return list(filter(None, [check.answer, check.details, timed]))


def _figure(check: Verdicts) -> list[Section]:
    """Return the section with the figure of every change, which the table draws in its rows; none without times."""
    if (figure := changes(_for_readers(check), width=PANEL, is_apart=True)) is None:
        return []
    figure_of_changes = picture("changes", "The change of every case", CAPTION_OF_CHANGES, figure)
    return [Section("figure", "The changes as a figure", [figure_of_changes], is_folded=True)]


def _verdicts(check: Verdicts) -> Table:
    """Return the table of the verdicts, the worst first, with each interval drawn in its row."""
    frame = _for_readers(check)
    end = _end(frame[frame["verdict"].notna()])
    change_with_bar = replace(CHANGE_COLUMN, bar=lambda row: _bar(row, end))
    columns = [
        CASE_COLUMN,
        change_with_bar,
        VERDICT_COLUMN,
        INTERVAL_COLUMN,
        *([Column("margin", text_of("margin", round_percent), numeric=True)] if check.has_margins else []),
        Column("replicates", text_of("replicates"), numeric=True),
        Column("why", text_of("why")),
    ]
    for_readers = frame.drop(columns="case")  # rows are not about cases of a run, by which a page could filter
    breaks = where_new(frame["verdict"].fillna(""))
    note = f"{NOTE_ON_VERDICTS} {check.method}"
    every = table("verdicts", TITLE, note, columns, for_readers, machine=check.frame, breaks=breaks)
    return replace(every, paper=table_for_paper(check))


def _end(frame: pd.DataFrame) -> float:
    """Return the ratio at the right end of an axis of changes; its left end is one over it.

    It shows all values and margins, and intervals as far as they don't push these together.
    """
    logs = np.abs(np.log(frame[CHANGE_ENDS].where(lambda values: values > 0)))
    farthest = 0.0
    if frame["change"].notna().any():
        farthest = min(np.nanmax(logs) * 1.05, REACH_OF_CHANGES * np.nanmax(logs["change"]))
    margin = frame["margin"].max() if len(frame) else 0.0
    return math.exp(max(MIN_REACH * math.log1p(margin), farthest))


def _bar(row: Mapping[Any, Any], end: float) -> Bar | None:
    """Return the interval of a case on an axis to `end`; None if there is none."""
    if row["verdict"] is None or not (row["change_low"] > 0 and end > 1):
        return None

    def place(ratio: float) -> float:
        return round(50 + 50 * min(1.0, max(-1.0, math.log(ratio) / math.log(end))), 1)

    band = place(1 / (1 + row["margin"])), place(1 + row["margin"])
    low = place(row["change_low"])
    value = place(row["change"])
    high = place(row["change_high"])
    shade = {"regressed": "slower", "improved": "faster", "accepted": "soft", "unchanged": "soft"}.get(
        row["verdict"], row["verdict"]
    )
    return Bar(low, value, high, band, shade)


def table_for_paper(check: Verdicts) -> Table:
    """Return the table of the verdicts without reasons, which a page has no room for; its note says what was done."""
    return table("verdicts", TITLE, check.method, COLUMNS_OF_VERDICTS, _for_readers(check), machine=check.frame)


def _for_readers(check: Verdicts) -> pd.DataFrame:
    """Return the frame of a check for readers, in which an accepted regression is called so."""
    return check.frame.assign(verdict=outcomes_of(check.frame))


def _sides(folder: Path, sides: dict[str, RunInfo]) -> Table:
    """Return the table of the two runs of a check, a column each."""
    facts = {}
    for side, info in sides.items():
        worker = info.environment.get("worker") or {}
        facts[side] = {
            "code": next((note.words for note in of_kinds(info.notes, [OF_SIDE[side]])), ""),
            "commit": commit(info),
            "folder": str(folder / side),
            "started": when(info),
            "status": info.status,
            "pairs": count(info.replicates),
            "python": str(worker.get("python", "")),
            "torch": str(worker.get("torch", "")),
        }
    frame = pd.DataFrame(facts).rename_axis("what").reset_index()
    cells = [Column(side, text_of(side, lambda value: one_line(value) or MISSING)) for side in sides]
    return table("sides", "The two sides", "", [Column("what", text_of("what")), *cells], frame, machine=frame)


def changes(
    frame: pd.DataFrame, ax: Ax = None, *, width: Inches = None, height: Inches = None, is_apart: bool = False
) -> Figure | None:
    """Draw the change of every case with its interval, the margin as a band, and the verdict; the worst case on top.

    `frame`: that of `rnnbench.compare` for two stored runs, or some of its rows; the worst are drawn. It has one panel.
    `is_apart`: it is as high as its rows need.
    """
    compared = frame[frame["verdict"].notna()]
    if compared["change"].isna().all():
        return None
    # What has no time comes first in its verdict.
    ranked = compared.assign(rank=compared["verdict"].map(RANKS), faster=-compared["change"].fillna(math.inf))
    ordered = ranked.sort_values(["rank", "faster"], kind="stable")
    wide = width or PAGE
    room = MAX_DRAWN_ROWS if is_apart else min(MAX_DRAWN_ROWS, most_rows(ax, wide, height))
    worst = ordered if len(ordered) <= room else ordered[: room - 1]
    points = worst[CHANGE_ENDS].set_axis(["value", "low", "high"], axis=1).assign(y=range(len(worst)))
    points["shade"] = list(worst["verdict"].map(VERDICTS))
    points["marker"] = list(worst["verdict"].map(MARKER_OF))
    points["hollow"] = worst["verdict"].isin(["undecided", "accepted"])
    labels = list(map(str, worst["name"]))
    drawn_rows = len(labels) + (len(ordered) > room)
    high = rows_high(drawn_rows, wide, is_apart=is_apart)
    with sheet(ax, wide, high, height=height, is_apart=is_apart) as canvas:
        texts = [_verdict(row, is_short=canvas.is_narrow) for row in worst.to_dict("records")]
        if others := Counter(ordered["verdict"][len(worst) :]):
            labels.append(f"{', '.join(f'{others[word]:,} {word}' for word in RANKS if others[word])} not drawn")
            texts.append("")
        rows(canvas, canvas.axes, labels, points[points["value"].notna()], thick=2)
        texts_beside(canvas, canvas.axes, texts)
        for row, margin in enumerate(worst["margin"]):
            band = 1 / (1 + margin), 1 + margin
            canvas.axes.fill_betweenx([row - 0.5, row + 0.5], *band, color=canvas.ink("faint"), zorder=0)
        canvas.axes.axvline(1, color=canvas.ink(), **REFERENCE)
        end = _end(worst)
        log_ticks(canvas, canvas.axes.xaxis, 1 / end, end, change)
        about = "change of the time from base to head"
        canvas.axes.set_xlabel(about if canvas.is_narrow else f"{about}: slower to the right")
        label = f"margin {span(*map(round_percent, (worst['margin'].min(), worst['margin'].max())))}"
        band_key = Patch(facecolor=canvas.ink("faint"), edgecolor=canvas.ink("line"), label=label)
        looks = {word: canvas.ink(VERDICTS[word]) for word in worst["verdict"].unique()}
        marks = [Line2D([], [], color=looks[word], marker=MARKER_OF[word], markersize=5, label=word) for word in looks]
        canvas.legend([*marks, band_key])
    return canvas.figure


def _verdict(row: Mapping[Any, Any], *, is_short: bool) -> str:
    """Write a verdict: its glyph, its word, what decided, and the change."""
    size = change(row["change"]) or "without a time"
    if is_short:
        return f"{GLYPHS[row['verdict']]} {size}"
    witnesses = {"counts": "by counts", "instructions": "by instructions"}
    how = witnesses.get(row["decided_by"], "in the mean" if row["described_by"] == "mean_ratio" else "")
    interval = interval_cell(row["change_low"], row["change_high"]) if row["change"] > 0 else ""
    return "  ".join(filter(None, [GLYPHS[row["verdict"]], row["verdict"], how, size, interval]))
