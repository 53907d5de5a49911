"""The folder that a report is written to: its own, never somebody else's.

A marker file in each report's folder says what the report is of. So a report replaces an older one of the same run,
gets another folder if there is one of another run, and never touches a folder that rnnbench did not make.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.report.page.files import replace
from rnnbench.report.page.page import PAGE, TITLE
from rnnbench.report.words.units import when
from rnnbench.store.folder import is_check, read_info
from rnnbench.store.pytest_benchmark import is_saved
from rnnbench.store.run_info import RunInfo

REPORTS = Path("reports")
MARKER = ".rnnbench-report"
WORDS = "rnnbench wrote this folder, and replaces its files when it reports on the same again.\n"
MARKED = re.compile(rf"([0-9a-f]{{16}})\n{re.escape(WORDS)}")  # what the marker holds: the identity, then the words


@dataclass(frozen=True)
class ReportSubject:
    """What a report is of."""

    name: str  # of its folder, unless another report has that folder
    parent: str | None  # name of the folder above it, if there is one
    identity: str  # differs from every other subject's; reveals nothing about the machine
    shows: str  # text of its page, which identifies a page without a marker


@dataclass(frozen=True)
class ReportFolder:
    """A folder in which a report of a subject can be written."""

    folder: Path
    identity: str

    def mark(self) -> None:
        """Write the marker, before any other file; raises UserError if it can't be written."""
        replace(self.folder / MARKER, f"{self.identity}\n{WORDS}".encode(), self.folder)


def of_one(path: Path) -> ReportSubject:
    """The subject of a path: a run, a check, or files of pytest-benchmark; raises UserError if it is none of them."""
    if is_check(path):
        return _of_check(path)
    if not is_saved(path):
        return of_run(path, read_info(path))
    resolved = path.resolve()
    name = resolved.stem if resolved.is_file() else resolved.name
    return ReportSubject(name, resolved.parent.name, _hash("saved", str(resolved)), TITLE.format(resolved.name))


def _of_check(path: Path) -> ReportSubject:
    """The subject of a check, by its two runs."""
    resolved = path.resolve()
    runs = [_of_run(resolved / side, read_info(path / side)) for side in ("base", "head")]
    return ReportSubject(resolved.name, resolved.parent.name, _hash("check", *runs), TITLE.format(resolved.name))


def of_run(path: Path, info: RunInfo) -> ReportSubject:
    """The subject of a run; a run that is a side of a check is named after the check."""
    resolved = path.resolve()
    above = resolved.parent
    name = f"{above.name}-{resolved.name}" if is_check(above) else resolved.name
    parent = above.parent.name if is_check(above) else above.name
    return ReportSubject(name or info.suite, parent, _of_run(resolved, info), when(info.started))


def of_runs(names: Sequence[str], runs: Sequence[tuple[Path, RunInfo]]) -> ReportSubject:
    """The subject of several runs side by side."""
    name = f"{names[0]}-and-{names[1] if len(names) == 2 else len(names) - 1}"
    return ReportSubject(
        name, None, _hash("together", *(_of_run(path.resolve(), info) for path, info in runs)), names[-1]
    )


def of_history(suite: str, runs: Sequence[Path]) -> ReportSubject:
    """The subject of all runs of a suite in some folders; it stays the same when runs are added."""
    folders = sorted({str(run.resolve().parent) for run in runs})
    return ReportSubject(f"{suite}-history", None, _hash("history", suite, *folders), f"<h1>{suite}: history</h1>")


def place(subject: ReportSubject, out: Path | None) -> ReportFolder:
    """Choose the folder of a report: `out`, or one below `reports/` without a report of another subject.

    Raises UserError if that folder exists, is not empty, and was not made by rnnbench.
    """
    if out is not None:
        _owner(out, subject)
        return ReportFolder(out, subject.identity)
    in_front = f"{subject.parent}-" if subject.parent else ""
    names = (subject.name, f"{in_front}{subject.name}", f"{subject.name}-{subject.identity[:8]}")
    free = (REPORTS / name for name in names if _owner(REPORTS / name, subject) in (None, subject.identity))
    folder = next(free, None)
    if folder is None:
        raise UserError(f"{REPORTS / names[-1]}: contains a report of another run; give another folder")
    return ReportFolder(folder, subject.identity)


def _owner(folder: Path, subject: ReportSubject) -> str | None:
    """The identity of the report in a folder; None if the folder is empty or does not exist."""
    try:
        if not any(folder.iterdir()):
            return None
    except OSError:  # it does not exist, or can't be written either, which writing reports
        return None
    if marker := MARKED.fullmatch(_read(folder / MARKER)):
        return marker[1]
    page = _read(folder / PAGE)
    if TITLE.format("") in page and not os.path.lexists(folder / MARKER):  # made by a version that wrote no marker
        return subject.identity if subject.shows in page else "another"
    if is_check(folder) or (folder / "run.json").exists():
        raise UserError(f"{folder}: is the folder of a run, not of a report; give another, such as {folder / 'report'}")
    raise UserError(
        f"{folder}: is not empty and was not made by rnnbench; give a new or an empty folder, "
        f"for example {folder / 'report'}"
    )


def _read(file: Path) -> str:
    """The text of a report's file; empty if it can't be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _of_run(path: Path, info: RunInfo) -> str:
    """The identity of a run; runs of older versions have no id."""
    return _hash("run", info.id) if info.id else _hash("run", path.name, info.started, info.command)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]
