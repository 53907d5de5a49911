"""`rnnbench report`."""

from pathlib import Path

import click

from rnnbench.errors import UserError


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/<run>]")
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write a report of each RUN (a folder below results/): one self-contained page, figures and tables.

    \b
    Example:
      rnnbench report results/quick-20260101T120000Z-ab12
    """
    from rnnbench import load, summarize
    from rnnbench.analysis.noise import noise
    from rnnbench.report.folder import write
    from rnnbench.store.folder import read_info

    if out is not None and len(runs) > 1:
        raise UserError("--out names one report; leave it out, or give one RUN")
    for path in runs:
        info = read_info(path)
        frame = load(path)
        click.echo(write(summarize(frame), noise(frame), info, out or Path("reports") / path.resolve().name))
