"""The names that tests use, and the marker `rnnbench` of a test, its class or its module: the nearest wins."""

from typing import Any

import pytest

from rnnbench.text import nearest

CASE_FIXTURE = "rnnbench_case"
KEYS = ("suite", "budget", "precision", "phase", "undecided")


def marked(node: pytest.Item) -> dict[str, Any]:
    """All keys that are set for a test. Fails the test if a marker is wrong."""
    __tracebackhide__ = True
    if wrong := fault(node):
        pytest.fail(wrong, pytrace=False)
    return _keys(node)


def fault(node: pytest.Item | pytest.Function) -> str:
    """What is wrong with the markers of a test; empty if nothing is."""
    faults = [
        f"it takes names only, such as suite='mine.toml'; found {mark.args[0]!r}" for mark in _marks(node) if mark.args
    ]
    unknown = [key for key in _keys(node) if key not in KEYS]
    faults += [f"no key {key!r}{nearest(key, KEYS)}; there are {', '.join(KEYS)}" for key in unknown]
    return f"marker rnnbench: {faults[0]}" if faults else ""


def _keys(node: pytest.Item) -> dict[str, Any]:
    return {key: value for mark in reversed(_marks(node)) for key, value in mark.kwargs.items()}


def _marks(node: pytest.Item) -> list[pytest.Mark]:
    return list(node.iter_markers("rnnbench"))
