"""The folder that a report is written to: its own, never somebody else's.

A marker file in each report's folder says what the report is of. So a report replaces an older one of the same run,
gets another folder if there is one of another run, and never touches a folder that rnnbench did not make.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.report.page.files import replace
from rnnbench.store.folder import is_check, read_info
from rnnbench.store.pytest_benchmark import is_saved
from rnnbench.store.run_info import RunInfo

REPORTS = Path("reports")
MARKER = ".rnnbench-report"
WORDS = "rnnbench wrote this folder, and replaces its files when it reports on the same again.\n"


@dataclass(frozen=True)
class ReportSubject:
    """What a report is of."""

    name: str  # of its folder, unless another report has that folder
    parent: str  # name of the folder above it; may be empty
    identity: str  # differs from every other subject's; reveals nothing about the machine


@dataclass(frozen=True)
class ReportFolder:
    """A folder in which a report of a subject can be written."""

    folder: Path
    identity: str

    def mark(self) -> None:
        """Write the marker, before any other file; raises UserError if it can't be written."""
        replace(self.folder / MARKER, f"{self.identity}\n{WORDS}".encode(), self.folder)


def of_one(path: Path) -> ReportSubject:
    """Return the subject of a run, a check, or files of pytest-benchmark; raises UserError if a path is none of them.

    A run that is a side of a check is named after the check.
    """
    resolved = path.resolve()
    above = resolved.parent
    if is_check(path):
        sides = [_of_run(resolved / side, read_info(path / side)) for side in ("base", "head")]
        return ReportSubject(resolved.name, above.name, _hash("check", *sides))
    if is_saved(path):
        name = resolved.stem if path.is_file() else resolved.name
        return ReportSubject(name, above.name, _hash("saved", str(resolved)))
    identity = _of_run(resolved, read_info(path))
    if is_check(above):
        return ReportSubject(f"{above.name}-{resolved.name}", above.parent.name, identity)
    return ReportSubject(resolved.name, above.name, identity)


def of_runs(names: Sequence[str], runs: Sequence[tuple[Path, RunInfo]]) -> ReportSubject:
    """Return the subject of several runs side by side."""
    name = f"{names[0]}-and-{names[1] if len(names) == 2 else len(names) - 1}"
    return ReportSubject(name, "", _hash("together", *(_of_run(path.resolve(), info) for path, info in runs)))


def of_history(suite: str, runs: Sequence[Path]) -> ReportSubject:
    """Return the subject of all runs of a suite in some folders; it stays the same when runs are added."""
    folders = sorted({str(run.resolve().parent) for run in runs})
    return ReportSubject(f"{suite}-history", "", _hash("history", suite, *folders))


def place(subject: ReportSubject, out: Path | None) -> ReportFolder:
    """Choose the folder of a report: `out`, or one below `reports/` without a report of another subject.

    Raises UserError if that folder exists, is not empty, and was not made by rnnbench.
    """
    if out is not None:
        _owner(out)
        return ReportFolder(out, subject.identity)
    names = (subject.name, f"{subject.parent}-{subject.name}".lstrip("-"), f"{subject.name}-{subject.identity[:8]}")
    for folder in (REPORTS / name for name in names):
        if _owner(folder) in ("", subject.identity):
            return ReportFolder(folder, subject.identity)
    raise UserError(f"{REPORTS / names[-1]}: contains a report of another run; give another folder")


def _owner(folder: Path) -> str:
    """Return the identity of the report in a folder; empty if the folder is empty or does not exist."""
    try:
        if not any(folder.iterdir()):
            return ""
    except OSError:  # it does not exist, or can't be written either, which writing reports
        return ""
    try:
        identity, _, words = (folder / MARKER).read_text(encoding="utf-8", errors="replace").partition("\n")
    except OSError:
        words = ""
    if words != WORDS:
        raise UserError(
            f"{folder}: is not empty and was not made by rnnbench; give a new or an empty folder, "
            f"for example {folder / 'report'}"
        )
    return identity


def _of_run(path: Path, info: RunInfo) -> str:
    """Return the identity of a run; runs of older versions have no id."""
    return _hash("run", info.id) if info.id else _hash("run", path.name, info.started, info.command)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]
