"""The page of a check: the answer, the change of every case, and the pairs that it comes from."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import pandas as pd

from rnnbench.analysis.runs import drift
from rnnbench.errors import UserError
from rnnbench.report.drawing.sheet import Picture, picture
from rnnbench.report.figures import comparisons, runs
from rnnbench.report.page.page import Page, files
from rnnbench.report.page.section import Commands, Section, SectionPart, Warnings
from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.verdicts.over_time import described
from rnnbench.report.verdicts.verdicts import Verdicts, read
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import names
from rnnbench.report.words.changes import change_cell, interval_cell, verdict_cell
from rnnbench.report.words.run_names import commit
from rnnbench.report.words.units import MISSING, count, duration, round_percent, when
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural

SIDES = ("base", "head")
CHANGES = (
    "One row for each case, the worst on top: the change that its verdict speaks of, with its 95% interval. An "
    "interval that reaches the edge continues beyond it. The grey band is the margin: a change within it is no "
    "regression."
)
PAIRS = (
    "Each point is a pair of fresh processes, one of each side, at the time at which it was measured. A case that is "
    "slower is slower in every pair; a step or a slope shows that the machine changed meanwhile. Points beyond the "
    "edge are drawn on it."
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
    head, check, (pairs, why_no_pairs) = sides["head"], read(folder), _pairs(folder)
    changes = None if check is None else comparisons.changes(check.frame)
    drawn = [
        *([picture("changes", "The change of every case", CHANGES, changes)] if changes else []),
        *_replicates(check, pairs, folder),
    ]
    both = _sides(folder, sides, pairs)
    nothing = why_no_pairs or "No case was measured in two pairs, so there is nothing to draw."
    of_pairs: Sequence[SectionPart] = [each for each in drawn if each.name == "pairs"]
    sections = [
        *([_verdicts(check, verdicts_table(check.frame))] if check else []),
        Section("pairs", "Did it change while it was measured?", of_pairs or [nothing]),
        _measured(folder, sides, both),
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
        first=drawn[0] if changes else None,
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


def _pairs(folder: Path) -> tuple[pd.DataFrame, str]:
    """The pairs of a check, or why they can't be read: its runs may have been removed or cut off."""
    try:
        return drift.of_check(*(folder / side for side in SIDES)), ""
    except UserError as fault:
        return pd.DataFrame(columns=drift.COLUMNS), one_line(fault)


def _replicates(check: Verdicts | None, pairs: pd.DataFrame, folder: Path) -> list[Picture]:
    """The figure of the pairs of the worst cases, in the order of the table, if there is one."""
    if check is not None:
        ordered = check.frame.drop_duplicates("case").set_index("case")[["name", "margin"]]
    else:
        cases = {key: measurement.case for key, measurement in last_measurements(folder / "head").items()}
        called = names(cases.values())
        ordered = pd.DataFrame({"name": {key: called.name(case) for key, case in cases.items()}})
    place = {key: index for index, key in enumerate(ordered.index)}
    shown = pairs.join(ordered, on="panel", how="inner")
    shown = shown.sort_values("panel", key=lambda keys: keys.map(place), kind="stable").assign(
        panel=lambda rows: rows["name"]
    )
    figure = None if shown.empty else runs.replicates(shown, at="minutes since the check began")
    return [] if figure is None else [picture("pairs", "The pairs of the first cases", PAIRS, figure)]


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


def _sides(folder: Path, sides: dict[str, RunInfo], pairs: pd.DataFrame) -> Table:
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
            "cases in pairs": count(pairs["panel"].nunique()),
            "python": str(worker.get("python") or software.get("python") or ""),
            "torch": str(worker.get("torch") or packages.get("torch") or ""),
        }

    known = pd.DataFrame({side: facts(side, info) for side, info in sides.items()})
    frame = known.rename_axis("what").reset_index()
    columns = [Column("what", of("what"))]
    columns += [Column(side, of(side, lambda value: one_line(value) or MISSING)) for side in SIDES]
    return table("sides", "The two sides", "", columns, frame, machine=frame)
