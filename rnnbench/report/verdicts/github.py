"""What GitHub Actions shows: annotations on the run's page, and the job's summary."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.text import plural

if TYPE_CHECKING:  # an error is told as a command by every command, without what a report needs
    from rnnbench.analysis.comparison import Comparison, Subject
    from rnnbench.analysis.verdict import Verdict
    from rnnbench.report.verdicts.rows import VerdictRow

MAX_SUMMARY_BYTES = 1024 * 1024  # of one step; GitHub drops the whole of a longer one
PlaceOf = Callable[["Subject"], tuple[str, int] | None]  # the file and the line of a case
NOT_COMPARED = 2  # the exit code
NAMED = 3  # cases that one line names; more are counted


def annotations(comparison: "Comparison", most: int = 9, place_of: PlaceOf = lambda case: None) -> list[str]:
    """Workflow commands: an error for each of the `most` worst regressions, and one line for each other matter.

    A regression stands beside its cell's code, if `place_of` knows it. GitHub shows ten errors of a step and drops the
    others, so by default the line for the rest is the tenth. What makes the command end with 2 is an error too.
    """
    from rnnbench.report.verdicts.rows import all_rows

    rows = all_rows(comparison)
    regressed = _having(rows, "regressed")
    lines = [
        _command("error", f"Regressed: {row.case}", _message(row), place_of(row.finding.case))
        for row in regressed[:most]
    ]
    if rest := regressed[most:]:
        lines.append(_command("error", f"{plural(len(rest), 'more case')} regressed", _listed(rest)))
    level = "error" if comparison.exit_code() == NOT_COMPARED else "warning"
    doubts: tuple[tuple[Verdict, str], ...] = (("incomparable", "not comparable"), ("undecided", "not decided"))
    for verdict, words in doubts:
        if doubtful := _having(rows, verdict):
            lines.append(_command(level, f"{plural(len(doubtful), 'case')} {words}", _listed(doubtful)))
    return lines


def failure(message: str) -> str:
    """The workflow command for a command that ends with 2."""
    return _command("error", "rnnbench", message)


def is_at_work() -> bool:
    """Whether this is a job of GitHub Actions, which reads what is printed."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def without_commands(say: Callable[[str], None]) -> Iterator[None]:
    """Keep GitHub from reading lines printed meanwhile as commands, whatever is in them; does nothing elsewhere."""
    if not is_at_work():
        yield
        return
    token = secrets.token_hex(16)  # no printed name can contain it
    say(f"::stop-commands::{token}")
    try:
        yield
    finally:
        say(f"::{token}::")


def append_summary(comparison: "Comparison", path: Path) -> None:
    """Append the Markdown to the file that $GITHUB_STEP_SUMMARY names, within GitHub's limit for the whole file.

    Raises OSError if it can't be written.
    """
    from rnnbench.report.verdicts import markdown

    # O_NONBLOCK: if it is a pipe, do not wait for its reader.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        size = os.fstat(descriptor).st_size
        gap = "\n" if size else ""
        text = markdown.render(comparison, max(0, MAX_SUMMARY_BYTES - size - len(gap)))
        if text:
            file.write(gap + text)


def append_output(line: str, path: Path) -> None:
    """Append a line to the file that $GITHUB_OUTPUT names: later steps of the job can read it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _message(row: "VerdictRow") -> str:
    """By how much and why, each once; if the mean decided, the reason begins with how much."""
    brief = "" if row.finding.decided_by == "mean" else row.brief
    return ". ".join(filter(None, dict.fromkeys([brief, row.why])))


def _having(rows: "Sequence[VerdictRow]", verdict: "Verdict") -> "list[VerdictRow]":
    return [row for row in rows if row.finding.verdict == verdict]


def _listed(rows: "Sequence[VerdictRow]") -> str:
    parts = [f"{row.case}: {row.brief}" for row in rows[:NAMED]]
    more = len(rows) - NAMED
    return "; ".join([*parts, *([f"and {more:,} more"] if more > 0 else [])])


def _command(level: str, title: str, message: str, place: tuple[str, int] | None = None) -> str:
    at = f"file={_property(place[0])},line={place[1]}," if place else ""
    return f"::{level} {at}title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """A message as actions/toolkit escapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
