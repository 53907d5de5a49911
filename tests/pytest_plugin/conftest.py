"""A folder in which pytest runs with the plugin, as if it were installed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_benchmark.plugin

import rnnbench.pytest_plugin

ROOT = Path(__file__).parents[2]
BOTH = (rnnbench.pytest_plugin, pytest_benchmark.plugin)
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def here(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Without the plugins that happen to be installed, which might hold this one too."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # in which pytest-benchmark would disable itself
    return pytester


@pytest.fixture
def in_process(here: pytest.Pytester) -> Run:
    """Runs pytest in this process, which has torch already."""
    return lambda *args, plugins=BOTH: here.runpytest_inprocess(*args, plugins=plugins)


@pytest.fixture
def in_another(here: pytest.Pytester) -> Run:
    """Runs pytest in a process of its own."""
    named = [part for plugin in BOTH for part in ("-p", plugin.__name__)]
    return lambda *args: here.runpytest_subprocess(*named, *args)
