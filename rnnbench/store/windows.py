"""The windows of a run: a file `windows-<worker>.jsonl` for each worker, with lines of this run only.

A line that is a duplicate, or is another worker's or run's, is refused: it would be counted as a measurement.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store import jsonlines, schema
from rnnbench.store.folder import of_workers, run_id
from rnnbench.store.last_lines import check_line

RUN = "run"  # key of the run's id in each line


def window_files(path: Path, part: str | None = None) -> list[Path]:
    """The files of windows that count, one for each worker, of one part or of all parts."""
    return sorted(path.glob(f"windows-{of_workers(part)}"))


def facts_of(file: Path) -> os.stat_result:
    """The size and times of a file of windows; raises UserError if it can't be reached, as a link to nothing."""
    try:
        return file.stat()
    except OSError as fault:
        raise UserError(f"{file}: can't be read: {fault.strerror}") from None


def worker_of(file: Path) -> str:
    """The worker whose windows are in a file, from the file's name."""
    return file.stem.removeprefix("windows-")


def read_windows(path: Path, part: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of every worker's windows, of one part or of all parts; raises UserError if one is not valid."""
    run = run_id(path)
    for file in window_files(path, part):
        yield from _checked(file, run)


def check_windows(file: Path, run: str) -> None:
    """Raise UserError at the first line of a file that is not a window of the run with this id."""
    for _ in _checked(file, run):
        pass


def too_many(file: Path, turns: int) -> UserError:
    """The error for a file in which a visit has more windows than `turns`."""
    return UserError(
        f"{file}: a visit has more windows than its {turns} turns; some belong to another run or are duplicated"
    )


def _checked(file: Path, run: str) -> Iterator[dict[str, Any]]:
    worker = worker_of(file)
    seen: dict[tuple[str, int, int], int] = {}  # case, replicate, order -> line
    for number, line in enumerate(jsonlines.read(file), 1):
        check_line(file, number, schema.window_fault(line) or _stray(line, worker, run))
        identity = line["case"], line["replicate"], line["order"]
        if identity in seen:
            raise UserError(f"{file}, line {number}: is the same window as line {seen[identity]}; remove one of them")
        seen[identity] = number
        yield line


def _stray(line: dict[str, Any], worker: str, run: str) -> str:
    """Why a window belongs to another worker or run; empty if it does not."""
    own_run = line.get(RUN, "")
    if own_run != run:
        wanted = f"expected {run!r}, the id in run.json" if run else "expected none, as in run.json"
        return f"run: {wanted}, found {own_run or 'none'!r}; the window is another run's"
    if line["worker"] != worker:
        return f"worker: expected {worker!r}, as in the file's name, found {line['worker']!r}"
    return ""
