"""`--suite` and `--only` beside the plugin's `--rnnbench-suite` and `--rnnbench-only`."""

import importlib.util

import pytest

from rnnbench.pytest_plugin import add_short_options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the short options, and name a missing pytest-benchmark before pytest calls `--benchmark-only` unknown."""
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise pytest.UsageError("the suites need pytest-benchmark: pip install 'rnnbench[pytest]'")
    add_short_options(parser)
