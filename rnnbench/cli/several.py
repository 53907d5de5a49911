"""`rnnbench report --together` and `--history`: several runs in one report."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rnnbench.errors import UserError
from rnnbench.text import listed, nearest, plural

if TYPE_CHECKING:
    from rnnbench.report.page.place import ReportFolder

RESULTS = Path("results")
Read = TypeVar("Read")
Report = tuple[dict[str, bytes], "ReportFolder"]  # the files of a report and its folder


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
    places = [os.path.realpath(run) for run in runs]
    if twice := next((run for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None):
        raise UserError(f"--together {twice}: this run is named twice; name each run once")
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
    check_folders = [folder for folder in folders if is_check(folder)]
    run_folders = [folder for folder in folders if folder not in check_folders]
    place_of = place(f"{suite}-history", sorted({folder.resolve().parent for folder in folders}), out)
    runs = _readable(stored.read, run_folders, left_out)
    found = filter(None, _readable(read_check, check_folders, left_out))
    checks = sorted(found, key=lambda check: (check.head.started, check.name))
    sections = [section(history(runs), left_out)] if len(runs) > 1 else []
    if checks and len(check_folders) > 1:
        sections.append(section_of_checks(checks, () if sections else left_out))
    if not sections:
        why = left_out or [f"none of the {len(check_folders)} checks of {suite} ended with verdicts"]
        raise UserError(f"--history: {'; '.join(why)}")
    return files(page_of_several(f"{suite}: history", sections)), place_of


def _readable(read: Callable[[Path], Read], paths: Sequence[Path], left_out: list[str]) -> list[Read]:
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
    from rnnbench.store.folder import dated, is_check, runs_and_checks

    folders: dict[Path, None] = {}
    for path in paths:
        if not (found := runs_and_checks(path)):
            raise UserError(
                f"--history {path}: no run or check is there; expected one, or a folder of them, such as results/"
            )
        folders |= dict.fromkeys(folder.resolve() for folder in found)
    by_suite: dict[str, dict[str, list[Path]]] = {}
    for info, folder in dated(folders, left_out):
        kinds = by_suite.setdefault(info.suite, {"run": [], "check": []})
        kinds["check" if is_check(folder) else "run"].append(folder)
    counts = [
        f"{listed([plural(len(own), kind) for kind, own in kinds.items() if own])} of {name}"
        for name, kinds in sorted(by_suite.items())
    ]
    several = [name for name, kinds in by_suite.items() if max(map(len, kinds.values())) > 1]
    known = "; ".join([*counts, *left_out])
    if suite is None and len(several) != 1:
        remedy = "name one with --suite" if several else "at least two are needed"
        raise UserError(f"--history {' and '.join(map(str, paths))}: {known}; {remedy}")
    chosen = suite or several[0]
    if chosen not in several:
        like = "" if chosen in by_suite else nearest(chosen, by_suite)
        raise UserError(f"--suite {chosen}: a history needs at least two runs or checks of it{like}; there are {known}")
    return chosen, [folder for own in by_suite[chosen].values() for folder in own]
