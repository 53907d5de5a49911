"""`rnnbench report --together` and `--history`: several runs in one report."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rnnbench.errors import UserError
from rnnbench.text import listed, nearest, plural

if TYPE_CHECKING:
    from rnnbench.report.page.place import ReportFolder

RESULTS = Path("results")
Read = TypeVar("Read")


def newest() -> Path:
    """Return the run or the check in `results/` that began last; raises UserError if there is none."""
    from rnnbench.store.folder import is_check, read_info

    began: dict[Path, str] = {}
    for folder in _runs_and_checks(RESULTS, "report") if RESULTS.is_dir() else []:
        with suppress(UserError):  # an unreadable folder is not the one that was just made
            began[folder] = read_info(folder / "head" if is_check(folder) else folder).started
    if not began:
        raise UserError(f"report: no run is in {RESULTS}/; give a RUN, or measure one: rnnbench run quick")
    return max(began, key=lambda folder: began[folder])


def together_report(runs: Sequence[Path], out: Path | None) -> tuple[dict[str, bytes], "ReportFolder"]:
    """The files and the folder of a report of runs side by side; the first is the baseline."""
    if len(runs) < 2:
        raise UserError("--together needs at least two runs; the first is the baseline for the others")
    places = [os.path.realpath(run) for run in runs]
    if twice := next((run for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None):
        raise UserError(f"--together {twice}: this run is named twice; name each run once")
    from rnnbench import suites
    from rnnbench.analysis import stored
    from rnnbench.analysis.together import together
    from rnnbench.report.page import several_runs
    from rnnbench.report.page.place import of_runs, place
    from rnnbench.report.page.together import section

    read = [stored.read(path) for path in runs]
    margin = suites.check_settings(runs[0], read[0].info.resolved).margin
    names = [run.name for run in read]
    title = f"{names[0]} beside {listed(names[1:])}"
    folder = place(of_runs(names, [(path, run.info) for path, run in zip(runs, read, strict=True)]), out)
    return several_runs.render(title, [section(together(read, margin))]), folder


def history_report(
    paths: Sequence[Path], suite: str | None, out: Path | None
) -> tuple[dict[str, bytes], "ReportFolder"]:
    """The files and the folder of a report of a suite's runs and checks over time.

    `paths` are runs, checks, or folders of them. What can't be read is left out, and the page says so.
    """
    from rnnbench.analysis import stored
    from rnnbench.analysis.history import history
    from rnnbench.report.page import several_runs
    from rnnbench.report.page.history import section
    from rnnbench.report.page.place import of_history, place
    from rnnbench.report.verdicts import over_time

    left_out: list[str] = []
    suite, run_folders, check_folders = _of_suite(paths or [RESULTS], suite, left_out)
    folder = place(of_history(suite, [*run_folders, *check_folders]), out)
    runs = _readable(stored.read, run_folders, left_out)
    read = _readable(over_time.read_check, check_folders, left_out)
    checks = over_time.in_order(check for check in read if check is not None)
    sections = [section(history(runs), left_out)] if len(runs) > 1 else []
    if checks and len(check_folders) > 1:
        sections.append(over_time.section(checks, () if sections else left_out))
    if not sections:
        why = left_out or [f"none of the {len(check_folders)} checks of {suite} ended with verdicts"]
        raise UserError(f"--history: {'; '.join(why)}")
    return several_runs.render(f"{suite}: history", sections), folder


def _readable(read: Callable[[Path], Read], paths: Sequence[Path], left_out: list[str]) -> list[Read]:
    """Read what can be read; the error of each other path is added to `left_out`."""
    found = []
    for path in paths:
        try:
            found.append(read(path))
        except UserError as fault:
            left_out.append(str(fault))
    return found


def _of_suite(paths: Sequence[Path], suite: str | None, left_out: list[str]) -> tuple[str, list[Path], list[Path]]:
    """The suite, and the folders of its runs and of its checks.

    The error of each folder that can't be read is added to `left_out`. Raises UserError if there are fewer than two of
    either kind.
    """
    from rnnbench.store.folder import is_check, read_info

    def suite_of(folder: Path) -> tuple[Path, str]:
        return folder, read_info(folder / "head" if is_check(folder) else folder).suite

    folders = dict.fromkeys(folder.resolve() for path in paths for folder in _runs_and_checks(path))
    suites = dict(_readable(suite_of, list(folders), left_out))
    counts = {
        name: Counter("check" if is_check(folder) else "run" for folder, of in suites.items() if of == name)
        for name in sorted(set(suites.values()))
    }
    several = [name for name, of_kind in counts.items() if max(of_kind.values()) > 1]
    found = "; ".join([_counted(counts), *left_out] if counts else left_out)
    if suite is None and len(several) != 1:
        where, remedy = " and ".join(map(str, paths)), "name one with --suite" if several else "at least two are needed"
        raise UserError(f"--history {where}: {found}; {remedy}")
    chosen = suite or several[0]
    if chosen not in counts:
        where = " and ".join(map(str, paths))
        known = f"found {_counted(counts)}" if counts else "none can be read"
        raise UserError(
            f"--suite {chosen}: no run or check of this suite is in {where}{nearest(chosen, counts)}; {known}"
        )
    if chosen not in several:
        raise UserError(f"--suite {chosen}: a history needs at least two runs or checks; there are {found}")
    own = [folder for folder, name in suites.items() if name == chosen]
    return chosen, [path for path in own if not is_check(path)], [path for path in own if is_check(path)]


def _runs_and_checks(path: Path, command: str = "--history") -> list[Path]:
    """The run or the check at a path, or those in a folder; raises UserError if there are none."""
    from rnnbench.store.folder import is_check

    if (path / "run.json").exists() or is_check(path):
        return [path]
    found = {file.parent for file in path.glob("*/run.json")}
    found |= {file.parents[1] for file in path.glob("*/head/run.json") if is_check(file.parents[1])}
    if not found:
        raise UserError(
            f"{command} {path}: no run or check is there; expected one, or a folder of them, such as results/"
        )
    return sorted(found)


def _counted(counts: Mapping[str, Mapping[str, int]]) -> str:
    """`3 runs and 2 checks of quick and 1 run of ladder`."""
    parts = [
        f"{listed([plural(count, kind) for kind, count in sorted(of_kind.items(), reverse=True)])} of {name}"
        for name, of_kind in counts.items()
    ]
    return " and ".join(parts)
