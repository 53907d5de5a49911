"""`rnnbench export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import PATH_TYPE, writes_into
from rnnbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FILE_ENDINGS = {  # of a file in each format
    "csv": "csv",
    "parquet": "parquet",
    "json": "jsonl",
    "markdown": "md",
    "latex": "tex",
    "pytest-benchmark": "pytest-benchmark.json",
    "github-action-benchmark": "github-action-benchmark.json",
}
EXPORT_FORMATS = tuple(FILE_ENDINGS)


@click.command(short_help="Write RUN in the format of another tool.")
@click.argument("run", type=PATH_TYPE)
@click.option("--format", "to", required=True, type=click.Choice(EXPORT_FORMATS), help="The format to write.")
@writes_into("a file named after RUN", shown_default="standard output; for parquet, here")
@click.option("--windows", is_flag=True, help="For csv and parquet: write a row for each window instead of each case.")
def export(run: Path, to: str, out: Path | None, windows: bool) -> None:
    """Write RUN (a folder below results/) in the format of another tool. Of a check, write its verdicts.

    \b
    Examples:
      rnnbench export results/quick-20260101T120000Z-ab12 --format pytest-benchmark > quick.json
      rnnbench export results/quick-20260101T120000Z-ab12 --format parquet --windows --out data
      rnnbench export results/quick-check-20260101T120000Z-ab12 --format csv
      rnnbench export results/quick-check-20260101T120000Z-ab12 --format github-action-benchmark

    The path of the written file is printed on standard error. Without --out, an existing file is not replaced. Some
    formats have no place for cases that were not measured: a line on standard error says how many are left out.

    \b
    Exit codes: 0 written; 2 wrong usage, or RUN can't be read, or the file can't be written.
    """
    from rnnbench.report.export import exported
    from rnnbench.report.page import page
    from rnnbench.store.folder import is_check

    if windows and (to not in ("csv", "parquet") or is_check(run)):
        raise click.UsageError(f"--windows is for a run as csv or parquet; leave it out for {run} as {to}")
    data, notes = exported(run, to, _windows(run) if windows else None)
    if out is None and to != "parquet":
        output.write(data)
    else:
        file = _file_in(out or Path(), run, to, windows=windows)
        if out is None and os.path.lexists(file):
            raise UserError(f"{file} already exists; give --out . to replace it, or another folder")
        page.write(Path(os.path.realpath(file)), data, file)  # `resolve` raises for a link to itself
        output.say_path(file, err=True)
    for note in notes:
        output.tell(note)


def _file_in(folder: Path, run: Path, to: str, *, windows: bool) -> Path:
    """Return the file of an export in a folder; raises UserError if it is none that may be written."""
    from rnnbench.report.page.page import name_of
    from rnnbench.store.folder import is_record

    if not folder.exists() and folder.suffix.removeprefix(".") in (*FILE_ENDINGS.values(), "json"):
        raise UserError(f"{folder} looks like the name of a file; --out takes a folder, and > {folder} makes a file")
    rows = "-windows" if windows else ""
    file = folder / f"{name_of(run)}{rows}.{FILE_ENDINGS[to]}"
    target = Path(os.path.realpath(file))
    if is_record(target):
        raise UserError(f"{file}: the export would replace a file of a run; give another folder")
    if target.exists() and not target.is_file():
        raise UserError(f"{file} is not a regular file, so nothing replaces it; give another folder")
    return file


def _windows(run: Path) -> "pd.DataFrame":
    """Return the windows of a run. What loads them imports torch, which takes seconds."""
    from rnnbench import load

    windows: pd.DataFrame = load(run).windows
    return windows
