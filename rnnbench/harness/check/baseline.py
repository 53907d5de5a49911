"""A check against a stored run: the suite is measured anew, and compared with the baseline."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rnnbench.analysis import stored
from rnnbench.analysis.compare_files import compare_by_settings
from rnnbench.analysis.comparison import Comparison
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.records import Group
from rnnbench.suite_file import Settings
from rnnbench.suites import Suite


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
    return folder, compare_by_settings(before, stored.read(folder), suite.content.check)
