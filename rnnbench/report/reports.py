"""Reports of what is stored: a run, a check, files of pytest-benchmark, runs side by side, and a suite over time.

Each function writes the report into the folder `out`, or into one below `reports/`, and returns the path of its page.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from rnnbench.analysis import stored
from rnnbench.analysis.compare_files import read_saved
from rnnbench.analysis.history import history
from rnnbench.analysis.run_times import read_whole
from rnnbench.analysis.summary import noise, summarize
from rnnbench.errors import UserError
from rnnbench.report import runs, why
from rnnbench.report.page.page import files, folder_of, name_of, page_of_several, put
from rnnbench.report.page.run import run_page
from rnnbench.report.verdicts import page as verdicts
from rnnbench.store.folder import dated, is_check, read_profiles, runs_and_checks
from rnnbench.store.pytest_benchmark import is_saved
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.suites import check_settings
from rnnbench.text import listed, printable

Read = TypeVar("Read")
SAVED = "pytest-benchmark's files"


def kind_of(path: Path) -> str:
    """Return what a path is: a check, pytest-benchmark's files, or a run."""
    return "a check" if is_check(path) else SAVED if is_saved(path) else "a run"


def of_one(
    path: Path,
    out: Path | None = None,
    asked: tuple[str, ...] = (),
    reference: str | None = None,
    group_by: str | None = None,
) -> Path:
    """Report on a run, a check, or pytest-benchmark's files.

    `asked`: sizes to predict for a run, such as `batch_size=64`; `reference`, `group_by`: of pytest-benchmark's files.
    """
    place = folder_of(name_of(path), [path], out)
    if is_check(path):
        return put(*place, verdicts.render(path))
    if is_saved(path):
        saved = read_saved(path, reference, group_by)
        return put(*place, files(page_of_several(saved.name, [runs.of_files(saved)])))
    sizes = parse_only(asked, "--predict")
    (info, _, times), profiles = read_whole(path), read_profiles(path)
    words = ["rnnbench", "report", str(path), *(word for size in asked for word in ("--predict", size))]
    again = printable(shlex.join([*words, *(["--out", str(out)] if out else [])]))
    profiled, summary, noisy = why.sections(times, profiles) if profiles else [], summarize(times), noise(times)
    del times  # a quarter of the memory of a report of ten million windows
    return put(*place, files(run_page(summary, noisy, info, sizes, profiled, again)))


def of_together(paths: Sequence[Path], out: Path | None) -> Path:
    """Report on runs side by side; the first is the baseline."""
    read = [stored.read(path) for path in paths]
    margin = check_settings(paths[0], read[0].info.resolved).margin
    first, *others = (run.name for run in read)
    place = folder_of(f"{first}-and-{others[0] if len(others) == 1 else len(others)}", paths, out)
    section = runs.side_by_side(stored.together(read, margin))
    return put(*place, files(page_of_several(f"{first} beside {listed(others)}", [section])))


def of_history(paths: Sequence[Path], suite: str | None, out: Path | None) -> Path:
    """Report on a suite's runs and checks over time.

    `paths` are runs, checks, or folders of them. What can't be read is left out, and the page says so.
    """
    left_out: list[str] = []
    suite, folders = _of_one_suite(paths, suite, left_out)
    place = folder_of(f"{suite}-history", sorted({folder.resolve().parent for folder in folders}), out)
    read = _readable(stored.read, [folder for folder in folders if not is_check(folder)], left_out)
    found = _readable(verdicts.read_check, filter(is_check, folders), left_out)
    checks = [check for check in found if check is not None]
    sections = [runs.over_time(history(read), left_out)] if len(read) > 1 else []
    if len(checks) > 1:
        sections.append(verdicts.section_of_checks(checks, () if sections else left_out))
    if not sections:
        why_none = left_out or [f"there are no two runs, and no two checks with verdicts, of {suite}"]
        raise UserError(f"history: {'; '.join(why_none)}")
    return put(*place, files(page_of_several(f"{suite}: history", sections)))


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
    """Return the suite, and the folders of its runs and checks; raises UserError if there are not two of one suite."""
    by_suite: dict[str, list[Path]] = {}
    folders = dict.fromkeys(folder.resolve() for path in paths for folder in runs_and_checks(path))
    for info, folder in dated(folders, left_out):
        by_suite.setdefault(info.suite, []).append(folder)
    several = [name for name, own in by_suite.items() if len(own) > 1 and suite in (None, name)]
    if len(several) == 1:
        return several[0], by_suite[several[0]]
    known = "; ".join([*(f"{name} has {len(own):,}" for name, own in by_suite.items()), *left_out])
    remedy = (
        "name one: rnnbench report --history --suite NAME" if several else f"{suite or 'a suite'} needs two or more"
    )
    raise UserError(f"history of {' and '.join(map(str, paths))}: {known or 'no run or check is there'}; {remedy}")
