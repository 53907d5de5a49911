"""`rnnbench report`."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rnnbench.cli import output
from rnnbench.cli.options import FILE, TEXT, takes
from rnnbench.errors import UserError
from rnnbench.text import listed, nearest, printable

if TYPE_CHECKING:
    from rnnbench.report.page.place import ReportFolder


@click.command(short_help="Write a report of each RUN or check: a page, figures, tables.")
@click.argument("runs", nargs=-1, metavar="RUN...", type=FILE)
@takes("reference", "group-by")
@click.option("--out", type=FILE, help="Folder of the report.  [default: reports/<run>]")
@click.option(
    "--predict",
    "asked",
    type=TEXT,
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
    "--suite", type=TEXT, metavar="NAME", help="With --history: the suite to show, if there are runs of several."
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
    from rnnbench.report.page.place import name_of, place, put

    given = {"--predict": asked, "--reference": reference, "--group-by": group_by, "--suite": suite}
    if together and history:
        raise UserError("--together shows the runs that you name, --history all runs of a suite; give only one of them")
    if len(runs) > 1 and out is not None and not (together or history):
        raise UserError("--out is for one report; leave it out, give one RUN, or put all in one with --together")
    if history:
        _refuse_others(given, ("--suite",), "leave it out with --history")
        pages = [put(*history_report(runs, suite, out))]
    elif together:
        _refuse_others(given, (), "leave it out with --together")
        pages = [put(*together_report(runs, out))]
    else:
        pages = []
        for path in runs or [newest()]:
            folder = place(name_of(path), [path], out)  # fails before the work is done
            pages.append(put(_files(path, given, out), folder))
    for page in pages:
        output.say_path(page)
        if opens:
            _show(page.resolve().as_uri())


RESULTS = Path("results")
Read = TypeVar("Read")
Report = tuple[dict[str, bytes], "ReportFolder"]  # the files of a report and its folder
IS_FOR = {
    "--predict": "the report of a run",
    "--reference": "pytest-benchmark's files",
    "--group-by": "pytest-benchmark's files",
    "--suite": "--history",
}


def _refuse_others(given: Mapping[str, Any], allowed: tuple[str, ...], why: str) -> None:
    """Raise a usage error if another option than the allowed ones was given: it would have no effect."""
    for option, value in given.items():
        if value and option not in allowed:
            raise click.UsageError(f"{option} is for {IS_FOR[option]}; {why}")


def _files(path: Path, given: Mapping[str, Any], out: Path | None) -> dict[str, bytes]:
    """Return the files of the report of a run, of a check, or of files of pytest-benchmark."""
    from rnnbench.store import pytest_benchmark
    from rnnbench.store.folder import is_check

    if is_check(path):
        from rnnbench.report.verdicts import page

        _refuse_others(given, (), f"{path} is a check")
        return page.render(path)
    if pytest_benchmark.is_saved(path):
        from rnnbench.analysis.compare_files import read_saved
        from rnnbench.report import benchmarks
        from rnnbench.report.page.page import files, page_of_several

        _refuse_others(given, ("--reference", "--group-by"), f"{path} is pytest-benchmark's")
        saved = read_saved(path, given["--reference"], given["--group-by"])
        return files(page_of_several(saved.name, [benchmarks.section(saved)]))
    _refuse_others(given, ("--predict",), f"{path} is a run")
    return files_of_run(path, given["--predict"], out)


def files_of_run(run: Path, asked: tuple[str, ...] = (), out: Path | None = None) -> dict[str, bytes]:
    """Return the files of a run's report, whose page names the command that makes it."""
    from rnnbench.analysis.run_times import read_whole
    from rnnbench.analysis.summary import noise, summarize
    from rnnbench.report.page.page import files
    from rnnbench.report.page.run import run_page
    from rnnbench.report.why import sections
    from rnnbench.store.folder import read_profiles
    from rnnbench.suite.expressions import parse_only

    sizes = parse_only(asked, "--predict")
    (info, _, times), profiles = read_whole(run), read_profiles(run)
    why = sections(times, profiles) if profiles else []
    summary, noisy = summarize(times), noise(times)
    del times  # a quarter of the memory of a report of ten million windows
    words = ["rnnbench", "report", str(run), *(word for size in asked for word in ("--predict", size))]
    again = shlex.join([*words, *(["--out", str(out)] if out else [])])
    return files(run_page(summary, noisy, info, sizes, why, printable(again)))


def _show(address: str) -> None:
    """Open a graphical browser if there is one; a text browser would take over the terminal."""
    import webbrowser

    variables = "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"
    has_display = sys.platform != "linux" or any(os.environ.get(name) for name in variables)
    if not (has_display and webbrowser.open(address)):
        output.tell(f"no browser can be opened here; open {address} in one")


def newest() -> Path:
    """Return the run or the check in `results/` that began last; raises UserError if there is none."""
    from rnnbench.store.folder import dated, runs_and_checks

    found = dated(runs_and_checks(RESULTS), [])  # an unreadable folder is not the one that was just made
    if not found:
        raise UserError(f"report: no run is in {RESULTS}/; give a RUN, or measure one: rnnbench run quick")
    return found[-1][1]


def together_report(runs: Sequence[Path], out: Path | None) -> Report:
    """Return a report of runs side by side; the first is the baseline."""
    from rnnbench.analysis import stored
    from rnnbench.analysis.stored import together
    from rnnbench.report.page.page import files, page_of_several
    from rnnbench.report.page.place import place
    from rnnbench.report.together import section
    from rnnbench.suite import suites

    if len(runs) < 2:
        raise UserError("--together needs at least two runs; the first is the baseline for the others")
    read = [stored.read(path) for path in runs]
    margin = suites.check_settings(runs[0], read[0].info.resolved).margin
    names = [run.name for run in read]
    title = f"{names[0]} beside {listed(names[1:])}"
    folder = place(f"{names[0]}-and-{names[1] if len(names) == 2 else len(names) - 1}", runs, out)
    return files(page_of_several(title, [section(together(read, margin))])), folder


def history_report(paths: Sequence[Path], suite: str | None, out: Path | None) -> Report:
    """Return a report of a suite's runs and checks over time.

    `paths` are runs, checks, or folders of them. What can't be read is left out, and the page says so.
    """
    from rnnbench.analysis import stored
    from rnnbench.analysis.history import history
    from rnnbench.report.history import section
    from rnnbench.report.page.page import files, page_of_several
    from rnnbench.report.page.place import place
    from rnnbench.report.verdicts.page import read_check, section_of_checks
    from rnnbench.store.folder import is_check

    left_out: list[str] = []
    suite, folders = _of_one_suite(paths or [RESULTS], suite, left_out)
    place_of = place(f"{suite}-history", sorted({folder.resolve().parent for folder in folders}), out)
    runs = _readable(stored.read, [folder for folder in folders if not is_check(folder)], left_out)
    found = filter(None, _readable(read_check, filter(is_check, folders), left_out))
    checks = sorted(found, key=lambda check: (check.head.started, check.name))
    sections = [section(history(runs), left_out)] if len(runs) > 1 else []
    if len(checks) > 1:
        sections.append(section_of_checks(checks, () if sections else left_out))
    if not sections:
        why = left_out or [f"there are no two runs, and no two checks with verdicts, of {suite}"]
        raise UserError(f"--history: {'; '.join(why)}")
    return files(page_of_several(f"{suite}: history", sections)), place_of


def _readable(read: Callable[[Path], Read], paths: Iterable[Path], left_out: list[str]) -> list[Read]:
    """Read what can be read; the error of each other path is added to `left_out`."""
    found = []
    for path in paths:
        try:
            found.append(read(path))
        except UserError as fault:
            left_out.append(str(fault))
    return found


def _of_one_suite(paths: Sequence[Path], suite: str | None, left_out: list[str]) -> tuple[str, list[Path]]:
    """Return the suite, and the folders of its runs and checks, of which there are at least two of one kind."""
    from rnnbench.store.folder import dated, runs_and_checks

    folders: dict[Path, None] = {}
    for path in paths:
        if not (found := runs_and_checks(path)):
            raise UserError(
                f"--history {path}: no run or check is there; expected one, or a folder of them, such as results/"
            )
        folders |= dict.fromkeys(folder.resolve() for folder in found)
    by_suite: dict[str, list[Path]] = {}
    for info, folder in dated(folders, left_out):
        by_suite.setdefault(info.suite, []).append(folder)
    several = [name for name, own in by_suite.items() if len(own) > 1]
    known = "; ".join([*(f"{name} has {len(own):,}" for name, own in by_suite.items()), *left_out])
    if suite is None and len(several) != 1:
        remedy = "name one with --suite" if several else "at least two are needed"
        raise UserError(f"--history {' and '.join(map(str, paths))}: {known}; {remedy}")
    chosen = suite or several[0]
    if chosen not in several:
        like = "" if chosen in by_suite else nearest(chosen, by_suite)
        raise UserError(f"--suite {chosen}: a history needs at least two runs or checks of it{like}; {known}")
    return chosen, by_suite[chosen]
