"""The operations of every worker. Each registers itself in `rnnbench.harness.worker.table` when it is imported."""

from rnnbench.harness.worker.operations import before_cases, counting, observing, timing

__all__ = ["before_cases", "counting", "observing", "timing"]
