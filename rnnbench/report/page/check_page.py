"""The page of a check: the answer, the change of every case, and the pairs that it comes from."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import pandas as pd

from rnnbench.analysis.runs import drift
from rnnbench.errors import UserError
from rnnbench.report.figures import figure_changes, figure_replicates
from rnnbench.report.figures.all_figures import Picture, picture
from rnnbench.report.page.page import Page, files
from rnnbench.report.page.run_page import when
from rnnbench.report.page.section import Commands, Section, SectionPart, Warnings
from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.report.verdicts import as_table, stored
from rnnbench.report.verdicts.stored import StoredCheck
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import names
from rnnbench.report.words.run_names import commit
from rnnbench.report.words.units import MISSING, count, duration
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.run_info import RunInfo

SIDES = ("base", "head")
NO_VERDICTS = "This check has no verdict: it ended before there was one."
CHANGES = (
    "One row for each case, the worst on top. The upper line is the change of its typical call, the lower "
    "one that of their mean; what decides is drawn thick. An interval that reaches the edge continues beyond it. The "
    "grey band is the margin: a change within it is no regression."
)
PAIRS = (
    "Each point is a pair of fresh processes, one of each side, at the time at which it was measured. A case that is "
    "slower is slower in every pair; a step or a slope shows that the machine changed meanwhile. Points beyond the "
    "edge are drawn on it."
)


def render(folder: Path) -> dict[str, bytes]:
    """Every file of the report of a check, by its path within the report's folder.

    Raises UserError if one of the check's files can't be read.
    """
    sides = {side: read_info(folder / side) for side in SIDES}
    check = stored.read(folder)
    pairs, why_no_pairs = _pairs(folder)
    changes = _changes(check)
    drawn = [picture for picture in (changes, _replicates(check, pairs, folder)) if picture is not None]
    tables = [*([as_table.render(check.findings)] if check else []), _sides(folder, sides, pairs)]
    verdicts, measured = _verdicts(check, changes, tables[:-1]), _measured(folder, sides, tables[-1])
    page = Page(
        name=one_line(sides["head"].suite),
        heading=_heading(check, sides["head"]),
        answer=check.answer if check else NO_VERDICTS,
        more=check.details if check else "What was measured until then is below.",
        facts=tuple(filter(None, [when(sides["head"].started), _length(check), *_commits(sides)])),
        warning="" if sides["head"].status == "finished" else "this check was interrupted",
        first=changes,
        sections=[*verdicts, _over_time(drawn, why_no_pairs), measured],
    )
    return files(page)


def _heading(check: StoredCheck | None, head: RunInfo) -> str:
    if check is None:
        return f"{one_line(head.suite)}: a check"
    return f"{check.suite}: base {check.base} against head {check.head}"


def _length(check: StoredCheck | None) -> str:
    return f"measured for {duration(check.seconds)}" if check and check.seconds is not None else ""


def _commits(sides: dict[str, RunInfo]) -> list[str]:
    return [f"{side} {commit(info)}" for side, info in sides.items() if commit(info)]


def _changes(check: StoredCheck | None) -> Picture | None:
    """The figure of the changes; None if there is no change to draw."""
    figure = None if check is None else figure_changes.render(check.findings)
    return None if figure is None else picture("changes", "The change of every case", CHANGES, figure)


def _pairs(folder: Path) -> tuple[pd.DataFrame, str]:
    """The pairs of a check, or why they can't be read: its runs may have been removed or cut off."""
    try:
        return drift.of_check(*(folder / side for side in SIDES)), ""
    except UserError as fault:
        return pd.DataFrame(columns=drift.COLUMNS), one_line(fault)


def _replicates(check: StoredCheck | None, pairs: pd.DataFrame, folder: Path) -> Picture | None:
    """The figure of the pairs of the worst cases, in the order of the table."""
    if pairs.empty:
        return None
    if check is not None:
        ordered = check.findings.drop_duplicates("case").set_index("case")
    else:
        cases = {key: measurement.case for key, measurement in last_measurements(folder / "head").items()}
        called = names(cases.values())
        ordered = pd.DataFrame({"name": {key: called.name(case) for key, case in cases.items()}})
    shown = pairs[pairs["panel"].isin(ordered.index)]
    place = {key: index for index, key in enumerate(ordered.index)}
    shown = shown.sort_values("panel", key=lambda keys: keys.map(place), kind="stable")
    if "margin" in ordered:
        shown = shown.assign(margin=shown["panel"].map(ordered["margin"]))
    shown = shown.assign(panel=shown["panel"].map(ordered["name"]))
    figure = figure_replicates.render(shown, "minutes since the check began")
    return None if figure is None else picture("pairs", "The pairs of the first cases", PAIRS, figure)


def _verdicts(check: StoredCheck | None, changes: Picture | None, tables: Sequence[Table]) -> list[Section]:
    """The verdicts with what a reader must know about them; no section without verdicts."""
    if check is None:
        return []
    why_not = stored.undrawable(check.findings)
    if changes is None:
        why_not = ["No change is drawn: no time was compared. The table says why.", *why_not]
    parts: list[SectionPart] = [
        *([Warnings("Notes on this check:", check.notes)] if check.notes else []),
        *([" ".join(why_not)] if why_not else []),
        *tables,
        check.method,
    ]
    return [Section("verdicts", "Which cases changed?", parts)]


def _over_time(pictures: Sequence[Picture], why_no_pairs: str) -> Section:
    drawn = [each for each in pictures if each.name == "pairs"]
    nothing = why_no_pairs or "No case was measured in two pairs, so there is nothing to draw."
    return Section("pairs", "Did it change while it was measured?", drawn or [nothing])


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
        environment = info.environment
        software = environment.get("software") or {}
        packages, worker = software.get("packages") or {}, environment.get("worker") or {}
        about = next((note for note in info.notes if note.startswith(f"{side} of a check: ")), "")
        return {
            "code": about.removeprefix(f"{side} of a check: "),
            "commit": commit(info),
            "folder": str(folder / side),
            "started": when(info.started),
            "status": info.status,
            "pairs": count(info.replicates),
            "cases in pairs": count(pairs["panel"].nunique()),
            "python": str(worker.get("python") or software.get("python") or ""),
            "torch": str(worker.get("torch") or packages.get("torch") or ""),
        }

    known = {side: facts(side, info) for side, info in sides.items()}
    frame = pd.DataFrame(
        {"what": list(known["base"])} | {side: list(values.values()) for side, values in known.items()}
    )
    columns = [Column("what", of("what"))]
    columns += [Column(side, of(side, lambda value: one_line(value) or MISSING)) for side in SIDES]
    return table("sides", "The two sides", "", columns, frame, machine=frame)
