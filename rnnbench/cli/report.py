"""`rnnbench report`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import File, Text, benchmark_groups_option, benchmark_reference_option
from rnnbench.errors import UserError

if TYPE_CHECKING:
    from rnnbench.report.page.place import ReportFolder


@click.command(short_help="Write a report of each RUN or check: a page, figures, tables.")
@click.argument("runs", nargs=-1, metavar="RUN...", type=File())
@benchmark_reference_option
@benchmark_groups_option
@click.option("--out", type=File(), help="Folder of the report.  [default: reports/<run>]")
@click.option(
    "--predict",
    "asked",
    type=Text(),
    multiple=True,
    metavar="SIZES",
    help="Predict times at sizes that were not measured: 'batch_size=64 hidden_size=512'.",
)
@click.option("--open", "opens", is_flag=True, help="Open the report in a browser.")
@click.option("--together", is_flag=True, help="One report of all RUNs side by side, against the first.")
@click.option(
    "--history",
    is_flag=True,
    help="One report of all runs and checks of a suite over time, in the folders RUN.  [default: results]",
)
@click.option(
    "--suite", type=Text(), metavar="NAME", help="With --history: the suite to show, if there are runs of several."
)
def report(
    runs: tuple[Path, ...],
    reference: str | None,
    group_by: str | None,
    out: Path | None,
    asked: tuple[str, ...],
    opens: bool,
    together: bool,
    history: bool,
    suite: str | None,
) -> None:
    """Write a report of each RUN (a folder below results/), or of the newest: one page, figures and tables.

    RUN may also be the folder of a check. Its page shows the change of every case and the ratios of its pairs. RUN may
    also be a file that pytest-benchmark wrote, or a folder of such files, each of one process.

    \b
    Examples:
      rnnbench report --open
      rnnbench report results/quick-20260101T120000Z-ab12
      rnnbench report results/scaling-20260101T120000Z-ab12 --predict 'batch_size=48 seq_len=32 hidden_size=200'
      rnnbench report results/ci-check-20260101T120000Z-ab12
      rnnbench report saved.json --reference test_lstm
      rnnbench report saved.json --reference impl=torch --group-by func,param:size
      rnnbench report --together results/quick-20260101T120000Z-ab12 results/quick-20260102T120000Z-cd34
      rnnbench report --history --suite quick
    """
    from rnnbench.cli.several import newest
    from rnnbench.report.page.run_folder import put

    of_one = {"--predict": asked, "--reference": reference, "--group-by": group_by}
    if together or history:
        _refuse(of_one, "is for the report of one RUN; leave it out with --together and --history")
    if not history:
        _refuse({"--suite": suite}, "needs --history")
    if together or history:
        page = put(*_several(runs, out, suite, together=together, history=history))
        output.say_path(page)
        if opens:
            _show(page.resolve().as_uri())
        return
    if len(runs) > 1 and out is not None:
        raise UserError("--out is for one report; leave it out, give one RUN, or put all in one with --together")
    for path in runs or [newest()]:
        place = _place(path, out)  # fails before the work is done
        page = put(_files(path, reference, group_by, asked), place)
        output.say_path(page)
        if opens:
            _show(page.resolve().as_uri())


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise a usage error if one of these options was given: it would have no effect."""
    for option, value in options.items():
        if value:
            raise click.UsageError(f"{option} {why}")


def _several(
    runs: tuple[Path, ...], out: Path | None, suite: str | None, *, together: bool, history: bool
) -> tuple[dict[str, bytes], "ReportFolder"]:
    from rnnbench.cli import several

    if together and history:
        raise UserError("--together shows the runs that you name, --history all runs of a suite; give only one of them")
    return several.history_report(runs, suite, out) if history else several.together_report(runs, out)


def _place(run: Path, out: Path | None) -> "ReportFolder":
    from rnnbench.report.page import place

    return place.place(place.of_one(run), out)


def _files(path: Path, reference: str | None, group_by: str | None, sizes: tuple[str, ...]) -> dict[str, bytes]:
    """The files of the report of a run, of a check, or of files of pytest-benchmark."""
    from rnnbench.store import pytest_benchmark
    from rnnbench.store.folder import is_check

    if is_check(path):
        from rnnbench.report.verdicts import page

        given = {"--predict": sizes, "--reference": reference, "--group-by": group_by}
        _refuse(given, f"is for runs and files; {path} is a check")
        return page.render(path)
    if pytest_benchmark.is_saved(path):
        from rnnbench.analysis.pytest_benchmark.groups import grouped
        from rnnbench.report.page import benchmarks

        if sizes:
            raise click.UsageError(f"--predict is for runs, which have sizes; {path} is pytest-benchmark's")
        return benchmarks.render(grouped(pytest_benchmark.read(path), group_by), reference)
    if reference is not None:
        raise click.UsageError(f"--reference is for pytest-benchmark's files; {path} has its own")
    if group_by is not None:
        raise click.UsageError(f"--group-by is for pytest-benchmark's files; {path} has its own groups")
    return files_of_run(path, sizes)


def files_of_run(run: Path, asked: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The files of a run's report."""
    from rnnbench.analysis.runs.drift import of_run
    from rnnbench.analysis.runs.noise import noise
    from rnnbench.analysis.runs.run_times import read_with_lines
    from rnnbench.analysis.runs.summary import summarize
    from rnnbench.expressions import parse_only
    from rnnbench.report.page.run_folder import render
    from rnnbench.report.why import sections
    from rnnbench.store.folder import read_profiles

    sizes = parse_only(asked, "--predict")
    (info, _, times), profiles = read_with_lines(run), read_profiles(run)
    why = sections(times, profiles) if profiles else []
    summary, noisy, replicates = summarize(times), noise(times), of_run(times)
    del times  # a quarter of the memory of a report of ten million windows
    return render(summary, noisy, info, sizes, why, replicates)


def _show(address: str) -> None:
    """Open a graphical browser if there is one; a text browser would take over the terminal."""
    import webbrowser

    variables = "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"
    has_display = sys.platform != "linux" or any(os.environ.get(name) for name in variables)
    if not (has_display and webbrowser.open(address)):
        output.tell(f"no browser can be opened here; open {address} in one")
