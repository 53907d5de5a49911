"""The names that tests use, and the marker `rnnbench` of a test, its class or its module: the nearest wins."""

from typing import Any

import pytest

CASE_FIXTURE = "rnnbench_case"
KEYS = ("suite", "budget", "precision", "phase", "undecided")


def marked(node: pytest.Item) -> dict[str, Any]:
    """All keys that are set for a test. Fails the test if a marker is wrong."""
    __tracebackhide__ = True
    faults = [
        f"it takes names only, such as budget='20s'; found {mark.args[0]!r}" for mark in _marks(node) if mark.args
    ]
    keys = {key: value for mark in reversed(_marks(node)) for key, value in mark.kwargs.items()}
    faults += [f"no key {key!r}; there are {', '.join(KEYS)}" for key in keys if key not in KEYS]
    if faults:
        pytest.fail(f"marker rnnbench: {faults[0]}", pytrace=False)
    return keys


def _marks(node: pytest.Item) -> list[pytest.Mark]:
    return list(node.iter_markers("rnnbench"))
