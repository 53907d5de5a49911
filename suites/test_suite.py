"""Any suite's cases as pytest-benchmark benchmarks: `pytest suites/ --benchmark-only [--rnnbench-suite quick]`."""

from collections.abc import Callable

import pytest


@pytest.mark.rnnbench(suite="quick")
def test_case(rnnbench_case: Callable[[], object]) -> None:
    """One case: its outputs and gradients are compared with the reference's, then it is timed."""
    rnnbench_case()
