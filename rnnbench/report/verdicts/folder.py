"""The files of verdicts in a check's folder, for people and for CI services."""

from collections.abc import Callable
from pathlib import Path

from rnnbench.analysis.comparison import Comparison
from rnnbench.errors import UserError
from rnnbench.report.verdicts import as_json, junit, markdown
from rnnbench.store.writing import replace
from rnnbench.text import encoded

FILES: dict[str, Callable[[Comparison], str]] = {
    "verdicts.md": markdown.render,
    "verdicts.json": as_json.render,
    "junit.xml": junit.render,
}


def write_verdicts(comparison: Comparison, folder: Path) -> None:
    """Write `FILES` into an existing folder; raises UserError if it can't be written."""
    try:
        for name, render in FILES.items():
            replace(folder / name, encoded(render(comparison)))
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}") from None
