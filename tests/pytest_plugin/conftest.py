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
def isolated(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A pytester without the installed plugins, one of which may be this plugin."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # pytest-benchmark would disable itself under xdist
    return pytester


@pytest.fixture
def in_process(isolated: pytest.Pytester) -> Run:
    """Runs pytest in this process, which has imported torch already."""
    return lambda *args, plugins=BOTH: isolated.runpytest_inprocess(*args, plugins=plugins)


@pytest.fixture
def in_another(isolated: pytest.Pytester) -> Run:
    """Runs pytest in a new process."""
    named = [part for plugin in BOTH for part in ("-p", plugin.__name__)]
    return lambda *args: isolated.runpytest_subprocess(*named, *args)
