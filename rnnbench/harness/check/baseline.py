"""Comparisons with stored runs: two runs, two sides of pytest-benchmark's files, or a new run against a stored one."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.pytest_benchmark import comparison as benchmark_comparison
from rnnbench.analysis.pytest_benchmark.groups import grouped
from rnnbench.analysis.stored import StoredRun
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.harness.turns.progress import Progress
from rnnbench.store import pytest_benchmark
from rnnbench.store.records import Group
from rnnbench.suite_file import CheckSettings, Settings
from rnnbench.suites import Suite, check_settings, margins


def compare_files(
    base: Path, head: Path, *, margin: float | None, reference: str | None, group_by: str | None = None
) -> Comparison:
    """Compare two stored runs, or two sides of pytest-benchmark's files.

    `margin` is a share of the time, by default that of the head's suite; `reference` names the benchmark that
    pytest-benchmark's others of its group are compared with, and `group_by` says what makes a group, as in
    `rnnbench.analysis.pytest_benchmark.groups.grouped`. Raises UserError if a side can't be read, or if the sides are
    of different kinds or have nothing in common.
    """
    kinds = {path: pytest_benchmark.is_saved(path) for path in (base, head)}
    if all(kinds.values()):
        _refuse_same(base, head)
        before, after = (grouped(pytest_benchmark.read(path), group_by) for path in (base, head))
        return benchmark_comparison.compare(
            before, after, CheckSettings().margin if margin is None else margin, reference
        )
    if any(kinds.values()):
        files, run = sorted(kinds, key=lambda path: not kinds[path])
        pytest_benchmark.read(files)  # raises UserError if it only looks like one of pytest-benchmark's
        raise UserError(f"{files} is pytest-benchmark's and {run} is not; rnnbench export makes such a file of a run")
    if reference is not None:
        raise UserError(f"reference {reference}: {base} and {head} are runs, which have their own references")
    if group_by is not None:
        raise UserError(f"group by {group_by}: {base} and {head} are runs, which have their own groups")
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

    Raises what `run_suite` raises, and UserError if the stored run can't be read or has none of the cases.
    """
    before = stored.read(baseline)  # first, so that an unusable baseline costs no run
    stored.common_cases(before.measurements, {case.key: case for group in groups for case in group.cases})
    folder = run_suite(suite, groups, settings, out=out, command=command, on_progress=on_progress)
    return folder, _compared(before, stored.read(folder), suite.content.check)


def _refuse_same(base: Path, head: Path) -> None:
    """Raise UserError if the two sides are one."""
    if os.path.realpath(base) == os.path.realpath(head):  # `resolve` raises for a link to itself
        raise UserError(f"{base}: the base and the head are the same; give two runs")


def _compare_runs(base: Path, head: Path, margin: float | None) -> Comparison:
    with ThreadPoolExecutor() as pool:  # with large runs, one is read from disk while the other is parsed
        before, after = pool.map(stored.read, (base, head))
    _refuse_same(base, head)
    # Read the suite's settings even if they are not used: a run without settings is refused.
    settings = check_settings(head, after.info.resolved)
    return _compared(before, after, settings if margin is None else CheckSettings(margin=margin))


def _compared(base: StoredRun, head: StoredRun, settings: CheckSettings) -> Comparison:
    cases = (measurement.case for measurement in head.measurements.values())
    return stored.compare(base, head, margins(settings, cases))
