"""`rnnbench report`."""

from pathlib import Path

import click

from rnnbench.errors import UserError


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/<run>]")
@click.option("--together", is_flag=True, help="One report of all RUNs side by side, against the first.")
@click.option(
    "--history", is_flag=True, help="One report of how ratios changed over all runs in RUN.  [default: results]"
)
@click.option("--suite", metavar="NAME", help="With --history: the suite whose runs are meant, if there are several.")
def report(runs: tuple[Path, ...], out: Path | None, together: bool, history: bool, suite: str | None) -> None:
    """Write a report of each RUN (a folder below results/): one self-contained page, figures and tables.

    \b
    Examples:
      rnnbench report results/quick-20260101T120000Z-ab12
      rnnbench report --together results/quick-20260101T120000Z-ab12 results/quick-20260102T120000Z-cd34
      rnnbench report --history --suite quick
    """
    from rnnbench.report.folder import put

    if together or history:
        click.echo(put(*_several(runs, out, suite, together=together, history=history)))
        return
    if not runs:
        raise click.UsageError("Missing argument 'RUN...'.")
    if out is not None and len(runs) > 1:
        raise UserError("--out names one report; leave it out, give one RUN, or put all in one with --together")
    for path in runs:
        click.echo(put(_files(path), out or Path("reports") / path.resolve().name))


def _several(
    runs: tuple[Path, ...], out: Path | None, suite: str | None, *, together: bool, history: bool
) -> tuple[dict[str, bytes], Path]:
    from rnnbench.cli import several

    if together and history:
        raise UserError("--together is of the runs you name, --history of all of a suite; give one of them")
    return several.history(runs, suite, out) if history else several.together(runs, out)


def _files(run: Path) -> dict[str, bytes]:
    """The report's files."""
    from rnnbench import load, summarize
    from rnnbench.analysis.noise import noise
    from rnnbench.report.folder import render
    from rnnbench.store.folder import read_info

    info, frame = read_info(run), load(run)
    summary, found = summarize(frame), noise(frame)
    del frame  # of a large run, most of the memory
    return render(summary, found, info)
