"""Which cases a test stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rnnbench import suites
from rnnbench.errors import UserError
from rnnbench.expressions import parse_only
from rnnbench.groups import cases_of
from rnnbench.pytest_plugin.clock import BlockClock
from rnnbench.pytest_plugin.marker import CASE_FIXTURE, fault
from rnnbench.report.words.case_names import case_name, group_name
from rnnbench.store.records import Case
from rnnbench.suite_file import Settings

DEFAULT_SUITE = "quick"
UNUSED = "Benchmark fixture was not used at all"
NO_BENCHMARK = "{}: `rnnbench_case` needs pytest-benchmark: pip install 'rnnbench[pytest]'"


@dataclass(frozen=True)
class Chosen:
    """A case to be benchmarked."""

    case: Case
    root: Path  # files of a user's own cells are relative to it
    settings: Settings
    clock: BlockClock

    def __repr__(self) -> str:
        return self.case.key


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Make one test for each case.

    Raises CollectError if a marker is wrong, the suite is unknown, the selection is empty, or pytest-benchmark is not
    installed.
    """
    if wrong := fault(metafunc.definition):
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {wrong}")
    if not metafunc.config.pluginmanager.hasplugin("pytest-benchmark"):
        raise pytest.Collector.CollectError(NO_BENCHMARK.format(metafunc.definition.nodeid))
    try:
        cases = _chosen(metafunc)
    except UserError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    own = metafunc.definition.get_closest_marker("benchmark")
    options = dict(own.kwargs) if own else {}  # a case's own marker hides the test's
    params = [pytest.param(chosen, id=case_name(chosen.case), marks=_marks(chosen, options)) for chosen in cases]
    metafunc.parametrize(CASE_FIXTURE, params, indirect=True)


def _marks(chosen: Chosen, options: Mapping[str, Any]) -> list[pytest.MarkDecorator]:
    kwargs = {"group": group_name(chosen.case.workload), **options, "timer": chosen.clock, "disable_gc": True}
    # A case that fails before it can be timed has already reported its reason.
    return [pytest.mark.benchmark(**kwargs), pytest.mark.filterwarnings(f"ignore:{UNUSED}")]


def _chosen(metafunc: pytest.Metafunc) -> list[Chosen]:
    suite = suites.read(_suite_name(metafunc))
    only = parse_only(metafunc.config.getoption("rnnbench_only"), arguments=suite.arguments)
    groups = suite.groups(only, None, most=suites.MAX_CASES)
    root = suite.file.parent.resolve()
    return [Chosen(case, root, suite.settings, BlockClock()) for case in cases_of(groups)]


def _suite_name(metafunc: pytest.Metafunc) -> str:
    """The suite of the command line, else that of the marker: a file beside the test file, if there is one."""
    if (option := metafunc.config.getoption("rnnbench_suite")) is not None:
        return str(option)
    marker = metafunc.definition.get_closest_marker("rnnbench")
    name = str(marker.kwargs.get("suite", DEFAULT_SUITE)) if marker else DEFAULT_SUITE
    beside = metafunc.definition.path.parent / name
    return str(beside) if beside.is_file() else name
