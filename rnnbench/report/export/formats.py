"""The table of all formats, and a run in one of them."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.report.export.exported import ExportedRun


@dataclass(frozen=True)
class Format:
    """The module that writes a format, and what the format can hold."""

    module: str  # below this package
    suffix: str  # of its files
    keeps_all: bool = False  # also cases that were not measured, and windows
    is_text: bool = True  # may go to standard output
    metrics: tuple[str, ...] = ()  # that are written unless others are chosen; empty: all, and none can be chosen


FORMATS = {
    "pytest-benchmark": Format("pytest_benchmark", "json"),
    "github-action-benchmark": Format("github_action", "json", metrics=("time", "ratio")),
    "bencher": Format("bencher", "json"),
    "csv": Format("csv", "csv", keeps_all=True),
    "parquet": Format("parquet", "parquet", keeps_all=True, is_text=False),
}


def rendered(to: str, run: "ExportedRun", metrics: Sequence[str] = ()) -> bytes:
    """The whole file.

    `metrics`: those of a format that lets them be chosen, by their names or `time` and `ratio`; its own without any.
    Raises UserError if the format can't hold a case or a metric.
    """
    from rnnbench.text import encoded

    render = importlib.import_module(f"rnnbench.report.export.{FORMATS[to].module}").render
    options: dict[str, Any] = {"metrics": tuple(metrics) or FORMATS[to].metrics} if FORMATS[to].metrics else {}
    data = render(run, **options)
    return encoded(data) if isinstance(data, str) else bytes(data)


def rendered_check(to: str, folder: Path) -> bytes:
    """Return the whole file for a check: a row for each case, with its axes, verdict, ratios and reason.

    Raises UserError if the format has no place for verdicts, or the check ended without any.
    """
    import pandas as pd

    from rnnbench.report.export import parquet
    from rnnbench.report.tables.formats import as_csv
    from rnnbench.report.verdicts.verdicts import read
    from rnnbench.text import encoded

    if not FORMATS[to].keeps_all:
        raise UserError(f"{folder}: {to} has no place for verdicts; give csv or parquet, or the run {folder / 'head'}")
    if (check := read(folder)) is None:
        raise UserError(
            f"{folder}: this check ended without verdicts; its runs are {folder / 'base'} and {folder / 'head'}"
        )
    axes = pd.DataFrame([row.subject.axes() for row in check.rows])
    frame = axes.join(check.frame.set_index(axes.index))
    return parquet.of_frame(frame) if to == "parquet" else encoded(as_csv.of_frame(frame))


def notes(to: str, summary: "pd.DataFrame") -> Iterator[str]:
    """What the format can't hold of the run, one line each."""
    from rnnbench.report.export import cases

    if FORMATS[to].keeps_all:
        return
    if text := cases.left_out(summary):
        yield text
