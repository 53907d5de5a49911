"""Where a report is written: a folder of its own, never somebody else's, and each file whole or not at all.

A marker file in each report's folder says what the report is of. So a report replaces an older one of the same run,
gets another folder if there is one of another run, and never touches a folder that rnnbench did not make.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.store.folder import is_check, write_whole

REPORTS = Path("reports")
MARKER = ".rnnbench-report"
WORDS = "rnnbench wrote this folder, and replaces its files when it reports on the same again.\n"
PAGE = "index.html"


@dataclass(frozen=True)
class ReportFolder:
    """A folder in which a report can be written."""

    folder: Path
    identity: str  # of what the report is of; reveals nothing about the machine


def place(name: str, sources: Sequence[Path], out: Path | None) -> ReportFolder:
    """Choose the folder of a report: `out`, or one below `reports/` without a report of other sources.

    Raises UserError if that folder is not empty and was not made by rnnbench.
    """
    resolved = [source.resolve() for source in sources]
    identity = hashlib.sha256("\n".join([name, *map(str, resolved)]).encode(errors="surrogateescape")).hexdigest()[:16]
    if out is not None:
        _owner(out)
        return ReportFolder(out, identity)
    names = (name, f"{resolved[0].parent.name}-{name}".lstrip("-"), f"{name}-{identity[:8]}")
    folders = [REPORTS / each for each in names]
    free = next((folder for folder in folders if _owner(folder) in ("", identity)), folders[-1])
    return ReportFolder(free, identity)


def name_of(path: Path) -> str:
    """Return the name of the report of a run, a check or a file; a side of a check is named after the check."""
    path = path.resolve()
    return f"{path.parent.name}-{path.name}" if is_check(path.parent) else path.stem if path.is_file() else path.name


def _owner(folder: Path) -> str:
    """Return what the report in a folder is of; empty if the folder is empty or does not exist."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    marker = folder / MARKER
    identity, _, words = marker.read_text(errors="replace").partition("\n") if marker.is_file() else ("", "", "")
    if words != WORDS:
        raise UserError(
            f"{folder}: is not empty and was not made by rnnbench; give a new or an empty folder, "
            f"for example {folder / 'report'}"
        )
    return identity


def put(content: Mapping[str, bytes], place: ReportFolder) -> Path:
    """Write the files of a report and return the path of its page; raises UserError if that fails."""
    marker = f"{place.identity}\n{WORDS}".encode()
    for name, data in {MARKER: marker, **content}.items():  # the marker first, so that half a report is known for one
        write(place.folder / name, data, place.folder)
    return place.folder / PAGE


def write(file: Path, data: bytes, asked: Path) -> None:
    """Write a file whole or not at all; raises UserError, which names the path that was `asked` for, if it can't be."""
    if file.is_dir():
        raise UserError(f"{file if file.name else asked}: can't be written: Is a directory; give a file in it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
    except OSError as error:
        raise UserError(f"{asked}: can't be written: {error.strerror}; give another folder") from None
