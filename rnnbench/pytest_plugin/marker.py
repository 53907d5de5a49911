"""The names that tests use, and the marker `rnnbench`: what a test, its class or its module says, the nearest first."""

from typing import Any

import pytest

CASE_FIXTURE = "rnnbench_case"
KEYS = ("suite", "budget", "precision", "phase", "undecided")


def marked(node: pytest.Item) -> dict[str, Any]:
    """All keys that are set for a test. Ends the test with what is wrong with a marker."""
    __tracebackhide__ = True
    found = [f"it takes names only, such as budget='20s'; found {mark.args[0]!r}" for mark in _marks(node) if mark.args]
    keys = {key: value for mark in reversed(_marks(node)) for key, value in mark.kwargs.items()}
    found += [f"no key {key!r}; there are {', '.join(KEYS)}" for key in keys if key not in KEYS]
    if found:
        pytest.fail(f"marker rnnbench: {found[0]}", pytrace=False)
    return keys


def _marks(node: pytest.Item) -> list[pytest.Mark]:
    return list(node.iter_markers("rnnbench"))
