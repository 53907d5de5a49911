"""Comparisons of two stored runs."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rnnbench.analysis import stored
from rnnbench.analysis.comparison import Comparison, MemoryMargin
from rnnbench.errors import UserError
from rnnbench.suite.suites import check_settings, margins


def compare_files(base: Path, head: Path, *, margin: float | None) -> Comparison:
    """Compare two stored runs.

    `margin` is a share of the time, by default that of the head's suite. Raises UserError if a run can't be read, or
    if the two have nothing in common.
    """
    if os.path.realpath(base) == os.path.realpath(head):  # `resolve` raises for a link to itself
        raise UserError(f"{base}: the base and the head are the same; give two runs")
    with ThreadPoolExecutor() as pool:  # with large runs, one is read from disk while the other is parsed
        first, second = pool.map(stored.read_stored_run, (base, head))
    # Read the suite's settings even if they are not used: a run without settings is refused.
    settings = check_settings(head, second.info.resolved)
    if margin is not None:
        settings = settings.model_copy(update={"margin": margin, "margins": []})
    cases = (measurement.case for measurement in second.measurements.values())
    memory = MemoryMargin(settings.memory_margin, settings.memory_margin_bytes)
    return stored.compare(first, second, margins(settings, cases), memory)
