"""The pytest plugin: a suite's cases as pytest-benchmark benchmarks, and `assert_not_slower` in your own tests.

A suite's cases, where pytest-benchmark is installed (`pip install rnnbench[pytest]`):

    @pytest.mark.rnnbench(suite="mine.toml")  # beside the test file, a path, or the name of a shipped suite
    def test_case(rnnbench_case):
        rnnbench_case()

    pytest --benchmark-only [--rnnbench-suite SUITE] [--rnnbench-only 'cell=lstm phase=training']

A worker first compares a case with its reference and observes it: a case that disagrees fails, one that can't run here
is skipped, each with its reason. Then the case is timed in pytest's own process, alone and not in turns; `rnnbench run`
gives ratios with intervals. pytest-benchmark's options `--benchmark-max-time`, `-min-rounds` and `-min-time` say for
how long. Saving, comparing, histograms, `-disable`, `-skip`, `-cprofile` and the options of the marker `benchmark` work
as for any benchmark. Clock, calibration, warm-up and garbage collection (off) are always rnnbench's, whatever the
options say, and `-precision` does nothing, as for all benchmarks with a fixed number of rounds.

Two modules or functions in your own test:

    @pytest.mark.rnnbench(budget="20s", phase="training")
    def test_my_lstm_is_no_slower(rnnbench):
        rnnbench.assert_not_slower(MyLSTM(64, 128), than=nn.LSTM(64, 128), input=torch.randn(32, 8, 64), factor=1.2)

Loading the plugin loads neither torch nor pandas; a test that uses it does.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from rnnbench.pytest_plugin.marker import CASE_FIXTURE

if TYPE_CHECKING:
    from rnnbench.pytest_plugin.assertions import Assertions
    from rnnbench.pytest_plugin.session import ObservingSession

MARKER = (
    "rnnbench(suite, budget, precision, phase, undecided): suite: whose cases `rnnbench_case` stands for; the others: "
    "defaults of `rnnbench.assert_not_slower`."
)
SUITE_OPTION: dict[str, Any] = {
    "dest": "rnnbench_suite",
    "metavar": "SUITE",
    "default": None,
    "help": "Benchmark the cases of this suite (a file, or the name of a shipped one) in place of what the tests name.",
}
ONLY_OPTION: dict[str, Any] = {
    "dest": "rnnbench_only",
    "metavar": "EXPR",
    "default": [],
    "action": "append",
    "help": "Keep these values of the axes: 'cell=lstm,gru hidden_size=256'. May be given several times.",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options with long names, since the plugin is loaded in everybody's pytest."""
    group = parser.getgroup("rnnbench", "recurrent cells against torch.nn")
    group.addoption("--rnnbench-suite", **SUITE_OPTION)
    group.addoption("--rnnbench-only", **ONLY_OPTION)


def add_short_options(parser: pytest.Parser) -> None:
    """Add `--suite` and `--only`, for the `conftest.py` of a folder of suites; an existing option stays as it is."""
    for name, option in (("--suite", SUITE_OPTION), ("--only", ONLY_OPTION)):
        try:
            parser.addoption(name, **option)
        except ValueError:
            continue  # another plugin has it; the long name works all the same


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn a test that uses `rnnbench_case` into one test for each case of its suite."""
    if CASE_FIXTURE in metafunc.fixturenames:
        from rnnbench.pytest_plugin.collecting import parametrize

        parametrize(metafunc)


@pytest.fixture
def rnnbench(request: pytest.FixtureRequest) -> "Assertions":
    """Compares live modules and functions by their time: `rnnbench.assert_not_slower`."""
    from rnnbench.pytest_plugin.assertions import Assertions
    from rnnbench.pytest_plugin.marker import marked

    return Assertions(marked(request.node), request.node.user_properties)


class CaseCall:
    """Benchmarks a case when it is called."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self.was_called = False

    def __call__(self) -> object:
        """Benchmark the case; returns the result of its last call."""
        self.was_called = True
        return self._run()


@pytest.fixture
def rnnbench_case(
    request: pytest.FixtureRequest, benchmark: Any, _rnnbench_session: "ObservingSession"
) -> Callable[[], object]:
    """A case of a suite: call it once, and pytest-benchmark has its time."""
    from rnnbench.pytest_plugin.benchmarking import benchmarked, wanted

    return CaseCall(lambda: benchmarked(benchmark, request.param, _rnnbench_session, wanted(request)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passes without the call of its case: nothing would have been measured, unnoticed."""
    result = yield
    case = getattr(item, "funcargs", {}).get(CASE_FIXTURE)
    if isinstance(case, CaseCall) and not case.was_called:
        pytest.fail("rnnbench_case was not called, so nothing was measured; write rnnbench_case()", pytrace=False)
    return result


@pytest.fixture(scope="session")
def _rnnbench_session() -> "Iterator[ObservingSession]":
    """What all cases of a session share."""
    from rnnbench.pytest_plugin.session import open_session

    with open_session() as session:
        yield session
