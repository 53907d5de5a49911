"""The page of a check: the answer, and the change of every case."""

from pathlib import Path
from shlex import quote

import pandas as pd

from rnnbench.report.changes import changes, described
from rnnbench.report.drawing.sheet import picture
from rnnbench.report.page.page import Page, files
from rnnbench.report.page.section import Commands, Section, SectionPart, Warnings
from rnnbench.report.table import Column, Table, of, table
from rnnbench.report.verdicts.verdicts import Verdicts, read
from rnnbench.report.words.names import commit, one_line
from rnnbench.report.words.units import (
    MISSING,
    change_cell,
    count,
    duration,
    interval_cell,
    round_percent,
    verdict_cell,
    when,
)
from rnnbench.store.folder import read_info
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural

SIDES = ("base", "head")
CHANGES = (
    "One row for each case, the worst on top: the change that its verdict speaks of, with its 95% interval. An "
    "interval that reaches the edge continues beyond it. The grey band is the margin: a change within it is no "
    "regression."
)
NOTE = (
    "Change: head over base for the typical call, or in the mean of the calls where that decides. Replicates: pairs "
    "of fresh processes, one of each side."
)


def render(folder: Path) -> dict[str, bytes]:
    """Return every file of the report of a check, by its path within the report's folder.

    Raises UserError if one of the check's files can't be read.
    """
    sides = {side: read_info(folder / side) for side in SIDES}
    head, check = sides["head"], read(folder)
    figure = None if check is None else changes(check.frame)
    sections = [
        *([_verdicts(check, verdicts_table(check.frame))] if check else []),
        _measured(folder, sides, _sides(folder, sides)),
    ]
    seconds = check.seconds if check else None
    spent = "" if seconds is None else f"measured for {duration(seconds)}"
    commits = (f"{side} {commit(info)}" for side, info in sides.items() if commit(info))
    page = Page(
        name=one_line(head.suite),
        heading=f"{check.suite}: base {check.base} against head {check.head}"
        if check
        else f"{one_line(head.suite)}: a check",
        answer=check.answer if check else "This check has no verdict: it ended before there was one.",
        more=check.details if check else "What was measured until then is below.",
        facts=tuple(filter(None, [when(head.started), spent, *commits])),
        warning="" if head.status == "finished" else "this check was interrupted",
        first=picture("changes", "The change of every case", CHANGES, figure) if figure else None,
        sections=sections,
    )
    return files(page)


def verdicts_table(findings: pd.DataFrame) -> Table:
    """Return one row for each case, the worst first. `findings`: `Verdicts.frame`."""
    has_margins = findings.loc[findings["verdict"].notna(), "margin"].nunique() > 1
    columns = [
        Column("case", of("name")),
        Column("verdict", of("verdict", verdict_cell)),
        Column("change", of("change", change_cell), numeric=True),
        Column("95% interval", of(("change_low", "change_high"), interval_cell), numeric=True),
        *([Column("margin", of("margin", round_percent), numeric=True)] if has_margins else []),
        Column("replicates", of("replicates"), numeric=True),
        Column("why", of("why")),
    ]
    frame = described(findings).assign(
        verdict=findings["verdict"].astype(object).where(findings["verdict"].notna(), None)
    )
    breaks = [int(row) for row in range(1, len(frame)) if frame["verdict"].iloc[row] != frame["verdict"].iloc[row - 1]]
    shown = frame.drop(columns="case")  # rows are not about cases of a run, by which a page could filter
    return table("verdicts", "The verdict on each case", NOTE, columns, shown, machine=findings, breaks=breaks)


def _verdicts(check: Verdicts, of_cases: Table) -> Section:
    """The verdicts with what a reader must know about them."""
    without_time = sum(row.ratio is None for row in check.judged)
    why_not = []
    if without_time and without_time == len(check.judged):
        why_not = ["No change is drawn: no time was compared. The table says why."]
    elif without_time:
        verb = "has" if without_time == 1 else "have"
        why_not = [f"{plural(without_time, 'case')} {verb} a verdict without a time; the table says why."]
    parts: list[SectionPart] = [
        *([Warnings("Notes on this check:", check.notes)] if check.notes else []),
        *why_not,
        of_cases,
        check.method,
    ]
    return Section("verdicts", "Which cases changed?", parts)


def _measured(folder: Path, sides: dict[str, RunInfo], both: Table) -> Section:
    reports = [one_line(f"rnnbench report {quote(str(folder / side))}") for side in SIDES]
    parts: list[SectionPart] = [
        "To repeat the check, and to see the times of each side, which is a run of its own:",
        Commands((one_line(sides["head"].command), *reports)),
        both,
    ]
    return Section("measured", "What was compared, and where is it kept?", parts)


def _sides(folder: Path, sides: dict[str, RunInfo]) -> Table:
    """The two runs of a check, a column each."""

    def facts(side: str, info: RunInfo) -> dict[str, str]:
        software = info.environment.get("software") or {}
        packages, worker = software.get("packages") or {}, info.environment.get("worker") or {}
        about = f"{side} of a check: "
        return {
            "code": next((note.removeprefix(about) for note in info.notes if note.startswith(about)), ""),
            "commit": commit(info),
            "folder": str(folder / side),
            "started": when(info.started),
            "status": info.status,
            "pairs": count(info.replicates),
            "python": str(worker.get("python") or software.get("python") or ""),
            "torch": str(worker.get("torch") or packages.get("torch") or ""),
        }

    known = pd.DataFrame({side: facts(side, info) for side, info in sides.items()})
    frame = known.rename_axis("what").reset_index()
    columns = [Column("what", of("what"))]
    columns += [Column(side, of(side, lambda value: one_line(value) or MISSING)) for side in SIDES]
    return table("sides", "The two sides", "", columns, frame, machine=frame)
