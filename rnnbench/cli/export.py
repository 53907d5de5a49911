"""`rnnbench export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import FILE
from rnnbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet", "json", "markdown", "latex", "pytest-benchmark", "github-action-benchmark")


@click.command(short_help="Write RUN in the format of another tool.")
@click.argument("run", type=FILE)
@click.option("--format", "to", required=True, type=click.Choice(FORMATS), help="The format to write.")
@click.option("--out", metavar="FILE", type=FILE, help="Write into this file.  [default: standard output]")
@click.option("--windows", is_flag=True, help="For csv and parquet: write a row for each window instead of each case.")
def export(run: Path, to: str, out: Path | None, windows: bool) -> None:
    """Write RUN (a folder below results/) in the format of another tool. Of a check, write its verdicts.

    \b
    Examples:
      rnnbench export results/quick-20260101T120000Z-ab12 --format pytest-benchmark --out quick.json
      rnnbench export results/quick-20260101T120000Z-ab12 --format parquet --windows
      rnnbench export results/quick-check-20260101T120000Z-ab12 --format csv
      rnnbench export results/quick-check-20260101T120000Z-ab12 --format github-action-benchmark

    Parquet is never written to standard output. Without --out, it goes into a file named after the run. If a format has
    no place for cases that were not measured, they are left out, and a line on standard error says so.

    \b
    Exit codes: 0 written; 2 wrong usage, or RUN can't be read, or the file can't be written.
    """
    from rnnbench.report.export import exported
    from rnnbench.report.page import page
    from rnnbench.store.folder import is_check, is_record

    if windows and (to not in ("csv", "parquet") or is_check(run)):
        raise click.UsageError(f"--windows is for a run as csv or parquet; leave it out for {run} as {to}")
    data, notes = exported(run, to, _windows(run) if windows else None)
    if out is None and to == "parquet":
        out = Path(f"{run.resolve().name}.parquet")
        if os.path.lexists(out):
            raise UserError(f"{out} already exists; give --out {out} to replace it, or give another file")
    if out is None:
        output.write(data)
    elif is_record(target := Path(os.path.realpath(out))):  # `resolve` raises for a link to itself
        raise UserError(f"{out}: it would replace a file of a run; give another file")
    elif target.exists() and not (target.is_file() or target.is_dir()):
        raise UserError(f"{out}: it is a pipe or a device; write to it with > instead")
    else:
        page.write(target, data, out)
        output.say_path(out, err=True)
    for note in notes:
        output.tell(note)


def _windows(run: Path) -> "pd.DataFrame":
    """Return the windows of a run. What loads them imports torch, which takes seconds."""
    from rnnbench import load

    windows: pd.DataFrame = load(run).windows
    return windows
