"""`rnnbench report`."""

import os
import sys
from pathlib import Path

import click

from rnnbench.cli import output
from rnnbench.cli.options import PATH_TYPE, RESULTS, TEXT_TYPE, takes, writes_into
from rnnbench.errors import UserError


@click.command(short_help="Write a report of each RUN or check: a page, figures, tables.")
@click.argument("runs", nargs=-1, metavar="RUN...", type=PATH_TYPE)
@writes_into("the page and its files", shown_default="reports/<run>")
@takes("json-lines")
@click.option("--open", "opens", is_flag=True, help="Open the report in a browser.")
@click.option("--together", is_flag=True, help="One report of all RUNs side by side, against the first.")
@click.option(
    "--history",
    is_flag=True,
    help="One report of all checks of a suite over time, found in the folders RUN.  [default: results]",
)
@click.option(
    "--suite", type=TEXT_TYPE, metavar="NAME", help="With --history: the suite to show, if there are checks of several."
)
def report(
    runs: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
    opens: bool,
    together: bool,
    history: bool,
    suite: str | None,
) -> None:
    """Write a report of each RUN (a folder below results/), or of the newest: one page, figures and tables.

    Prints the answer at the top of the page, and then its path.

    RUN may also be the folder of a check. Its page shows the change of every case and the ratios of its pairs.

    \b
    Examples:
      rnnbench report --open
      rnnbench report results/quick-20260101T120000Z-ab12
      rnnbench report results/ci-check-20260101T120000Z-ab12
      rnnbench report --together results/quick-20260101T120000Z-ab12 results/quick-20260102T120000Z-cd34
      rnnbench report --history --suite quick

    \b
    Exit codes: 0 written; 2 wrong usage, or a RUN can't be read, or a page can't be written.
    """
    from rnnbench.store.folder import read_info

    if together and history:
        raise UserError(
            "--together shows the runs that you name, --history all checks of a suite; give only one of them"
        )
    if len(runs) > 1 and out is not None and not (together or history):
        raise UserError("--out is for one report; leave it out, give one RUN, or put all in one with --together")
    if together and len(runs) < 2:
        raise UserError("--together needs at least two runs; the first is the baseline for the others")
    if suite is not None and not history:
        raise click.UsageError("--suite is for --history; leave it out")
    for missing in (path for path in runs if not path.exists()):
        read_info(missing)  # raises UserError

    from rnnbench.report import reports  # which imports what draws

    paths = runs or ([RESULTS] if history else [newest()])
    if history:
        written = [reports.of_history(paths, suite, out)]
    elif together:
        written = [reports.of_together(paths, out)]
    else:
        written = [reports.of_one(path, out) for path in paths]
    for each in written:
        if as_json:
            output.write_json({"answer": list(each.answer), "page": str(each.page)})
        else:
            output.say(output.few_lines(each.answer))
            output.say_path(each.page)
        if opens:
            _show(each.page.resolve().as_uri())


def _show(address: str) -> None:
    """Open a graphical browser if there is one; a text browser would take over the terminal."""
    import webbrowser

    variables = "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"
    has_display = sys.platform != "linux" or any(map(os.environ.get, variables))
    if not (has_display and webbrowser.open(address)):
        output.tell(f"no browser can be opened here; open {address} in one")


def newest() -> Path:
    """Return the run or the check in `results/` that began last; raises UserError if there is none."""
    from rnnbench.store.folder import dated, runs_and_checks

    runs = dated(runs_and_checks(RESULTS), [])  # an unreadable folder is not the one that was just made
    if not runs:
        raise UserError(f"{RESULTS}/ has no run; give a RUN, or measure one: rnnbench run quick")
    return runs[-1][1]
