"""Comparisons with stored runs: two runs, two sides of pytest-benchmark's files, or a new run against a stored one."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rnnbench.analysis import saved_comparison, stored
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.stored import StoredRun
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.harness.turns.progress import Progress
from rnnbench.store import pytest_benchmark
from rnnbench.store.records import Group
from rnnbench.suite_file import CheckSettings, Settings
from rnnbench.suites import Suite, check_settings, margins


def compare_files(base: Path, head: Path, *, margin: float | None, reference: str | None) -> Comparison:
    """Compare two stored runs, or two sides of pytest-benchmark's files.

    `margin` is a share of the time, that of the head's suite by default; `reference` names the benchmark that
    pytest-benchmark's others are held against. Raises UserError where a side can't be read, the sides are of different
    kinds, or have nothing in common.
    """
    kinds = {path: pytest_benchmark.is_saved(path) for path in (base, head)}
    if all(kinds.values()):
        before, after = (pytest_benchmark.read(path) for path in (base, head))
        return saved_comparison.compare(before, after, CheckSettings().margin if margin is None else margin, reference)
    if any(kinds.values()):
        files, run = sorted(kinds, key=lambda path: not kinds[path])
        pytest_benchmark.read(files)  # or it is none of pytest-benchmark's, and says so
        raise UserError(f"{files} is pytest-benchmark's and {run} is not; rnnbench export makes such a file of a run")
    if reference is not None:
        raise UserError(f"reference {reference}: {base} and {head} are runs, which have their own references")
    return _compare_runs(base, head, margin)


def check_against_run(
    suite: Suite,
    groups: Sequence[Group],
    settings: Settings,
    baseline: Path,
    *,
    out: Path,
    command: str,
    on_progress: Callable[[Progress], None],
) -> tuple[Path, Comparison]:
    """Measure groups of a suite into a new run below `out`, and compare it with a stored one.

    Raises as `run_suite`, and UserError where the stored run can't be read, or has none of the cases.
    """
    before = stored.read(baseline)  # first: what is wrong with it should not take a run to find out
    stored.common_cases(before.measurements, {case.key: case for group in groups for case in group.cases})
    folder = run_suite(suite, groups, settings, out=out, command=command, on_progress=on_progress)
    return folder, _compared(before, stored.read(folder), suite.content.check)


def _compare_runs(base: Path, head: Path, margin: float | None) -> Comparison:
    with ThreadPoolExecutor() as pool:  # of large ones, a half is read while the other is made sense of
        before, after = pool.map(stored.read, (base, head))
    # The suite's own settings are read even where they are not used: a run that has none is refused.
    settings = check_settings(head, after.info.resolved)
    return _compared(before, after, settings if margin is None else CheckSettings(margin=margin))


def _compared(base: StoredRun, head: StoredRun, settings: CheckSettings) -> Comparison:
    return stored.compare(base, head, margins(settings, (one.case for one in head.measurements.values())))
