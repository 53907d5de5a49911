"""Counts that differ."""

import math

from rnnbench.analysis.changes import changes


def test_only_counts_that_both_sides_know_and_that_differ_are_changes() -> None:
    base = {"parameters": 10, "macs": 100, "peak_bytes": math.nan, "operators": 5, "allocations": None}
    head = {"parameters": 10, "macs": 150, "peak_bytes": 5, "operators": 4, "allocations": 3}
    found = changes(base, head)
    assert [(change.metric.name, change.base, change.head, change.ratio) for change in found] == [
        ("macs", 100, 150, 1.5),
        ("operators", 5, 4, 0.8),
    ]


def test_something_from_nothing_is_infinitely_more() -> None:
    (change,) = changes({"macs": 0}, {"macs": 3})
    assert change.ratio == math.inf
