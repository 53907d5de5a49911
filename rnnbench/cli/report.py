"""`rnnbench report`."""

from pathlib import Path

import click

from rnnbench.cli.options import reference_option
from rnnbench.errors import UserError


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@reference_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/<run>]")
def report(runs: tuple[Path, ...], reference: str | None, out: Path | None) -> None:
    """Write a report of each RUN (a folder below results/): one self-contained page, figures and tables.

    RUN may also be a file that pytest-benchmark wrote, or a folder of such files, each of one process.

    \b
    Examples:
      rnnbench report results/quick-20260101T120000Z-ab12
      rnnbench report saved.json --reference test_lstm
    """
    from rnnbench import load, summarize
    from rnnbench.analysis.noise import noise
    from rnnbench.report.folder import write
    from rnnbench.report.saved import folder as saved_folder
    from rnnbench.store import pytest_benchmark
    from rnnbench.store.folder import read_info

    if out is not None and len(runs) > 1:
        raise UserError("--out names one report; leave it out, or give one RUN")
    for path in runs:
        if pytest_benchmark.is_saved(path):
            saved = pytest_benchmark.read(path)
            click.echo(saved_folder.write(saved, reference, out or Path("reports") / path.resolve().stem))
            continue
        if reference is not None:
            raise click.UsageError(f"--reference is for pytest-benchmark's files; {path} has its own")
        info = read_info(path)
        frame = load(path)
        click.echo(write(summarize(frame), noise(frame), info, out or Path("reports") / path.resolve().name))
