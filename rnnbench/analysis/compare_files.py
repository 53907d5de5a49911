"""Comparisons of what is stored: two runs, or two sides of pytest-benchmark's files."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rnnbench.analysis import pytest_benchmark as benchmark_comparison
from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.pytest_benchmark import grouped
from rnnbench.analysis.stored import StoredRun
from rnnbench.errors import UserError
from rnnbench.store import pytest_benchmark
from rnnbench.suite.file import CheckSettings
from rnnbench.suite.suites import check_settings, margins


def compare_files(
    base: Path, head: Path, *, margin: float | None, reference: str | None, group_by: str | None = None
) -> Comparison:
    """Compare two stored runs, or two sides of pytest-benchmark's files.

    `margin` is a share of the time, by default that of the head's suite; `reference` names the benchmark that
    pytest-benchmark's others of its group are compared with, and `group_by` says what makes a group, as in
    `rnnbench.analysis.pytest_benchmark.grouped`. Raises UserError if a side can't be read, or if the sides are
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


def compare_by_settings(base: StoredRun, head: StoredRun, settings: CheckSettings) -> Comparison:
    """Compare two runs with the margins that a suite's settings give to the cases."""
    cases = (measurement.case for measurement in head.measurements.values())
    return stored.compare(base, head, margins(settings, cases))


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
    return compare_by_settings(before, after, settings if margin is None else CheckSettings(margin=margin))
