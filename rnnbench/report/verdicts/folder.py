"""The files of verdicts in a check's folder, for people and for CI services."""

from collections.abc import Callable
from pathlib import Path

from rnnbench.analysis.comparison import Comparison
from rnnbench.errors import UserError
from rnnbench.report.verdicts import as_json, junit, markdown
from rnnbench.report.verdicts.trend import earlier_checks
from rnnbench.store.writing import replace
from rnnbench.text import encoded

FILES: dict[str, Callable[[Comparison], str]] = {
    "verdicts.json": as_json.render,
    "junit.xml": junit.render,
}


def write_verdicts(comparison: Comparison, folder: Path) -> None:
    """Write `FILES` and `verdicts.md` into an existing folder; raises UserError if it can't be written."""
    try:
        text = markdown.comment(comparison, earlier_checks(folder, comparison.suite))
        replace(folder / "verdicts.md", encoded(text))
        for name, render in FILES.items():
            replace(folder / name, encoded(render(comparison)))
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}") from None
