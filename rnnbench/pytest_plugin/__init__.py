"""The pytest plugin: a suite's cases as pytest-benchmark benchmarks, and `assert_not_slower` in your own tests.

A suite's cases, where pytest-benchmark is installed (`pip install pytest-benchmark`):

    @pytest.mark.rnnbench(suite="mine.toml")  # beside the test file, a path, or the name of a shipped suite
    def test_case(rnnbench_case):
        rnnbench_case()

    pytest --benchmark-only [--rnnbench-suite SUITE] [--rnnbench-only 'cell=lstm phase=training']

A worker first compares a case with its reference and observes it: a case that disagrees fails, one that can't run here
is skipped, each with its reason. Then another worker times it alone; `rnnbench run` gives ratios with intervals.
pytest-benchmark's options `--benchmark-max-time`, `-min-rounds` and `-min-time` say for how long. Saving, comparing,
histograms, `-disable`, `-skip` and the options of the marker `benchmark` work as for any benchmark. Clock,
calibration, warm-up and garbage collection (off) are always rnnbench's, whatever the options say. `rnnbench profile`
takes the place of `-cprofile`.

Two modules or functions in your own test:

    @pytest.mark.rnnbench(budget="20s", phase="training")
    def test_my_lstm_is_no_slower(rnnbench):
        layer, mine = nn.LSTM(64, 128), MyLSTM(64, 128)
        mine.load_state_dict(layer.state_dict())  # or import same_weights from rnnbench: outputs must agree
        rnnbench.assert_not_slower(mine, than=layer, input=torch.randn(32, 8, 64), factor=1.2)

Loading the plugin loads neither torch nor pandas; a test that uses it does.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from rnnbench.text import nearest

if TYPE_CHECKING:
    from torch import Tensor

    from rnnbench.harness.live.measuring import LivePhase
    from rnnbench.pytest_plugin.items import Ask
    from rnnbench.report.frame_result import NotSlowerResult

CASE_FIXTURE = "rnnbench_case"
WAS_CALLED = pytest.StashKey[bool]()
MARKER_KEYS = ("suite", "budget", "precision", "phase", "undecided")
MARKER_HELP = (
    f"rnnbench({', '.join(MARKER_KEYS)}): suite: the suite whose cases `rnnbench_case` runs; the other keys: "
    "defaults of `rnnbench.assert_not_slower`."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options with long names, since the plugin is loaded in everybody's pytest."""
    group = parser.getgroup("rnnbench", "recurrent cells against torch.nn")
    group.addoption(
        "--rnnbench-suite",
        metavar="SUITE",
        help="Benchmark the cases of this suite (a file or a shipped name), even if the tests name other suites.",
    )
    group.addoption(
        "--rnnbench-only",
        metavar="EXPR",
        default=[],
        action="append",
        help="Select cases by the values of their axes: 'cell=lstm,gru hidden_size=256'. Can be given several times.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER_HELP)


def marked(node: pytest.Item | pytest.Function) -> dict[str, Any]:
    """Return the keys of the markers of a test, its class and its module: the nearest wins.

    The test, or its collection, fails if a marker is wrong.
    """
    wrong = f"{node.nodeid}: marker rnnbench:"
    keys = dict[str, Any]()
    for mark in node.iter_markers("rnnbench"):
        if mark.args:
            pytest.fail(
                f"{wrong} it takes names only, such as suite='mine.toml'; found {mark.args[0]!r}", pytrace=False
            )
        keys = {**mark.kwargs, **keys}
    for key in keys:
        if key not in MARKER_KEYS:
            pytest.fail(
                f"{wrong} no key {key!r}{nearest(key, MARKER_KEYS)}; there are {', '.join(MARKER_KEYS)}", pytrace=False
            )
    return keys


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn a test that uses `rnnbench_case` into one test for each case of its suite.

    Raises CollectError if the suite's cases can't be benchmarks.
    """
    if CASE_FIXTURE not in metafunc.fixturenames:
        return
    suite = marked(metafunc.definition).get("suite")
    if not metafunc.config.pluginmanager.hasplugin("pytest-benchmark"):
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid}: `{CASE_FIXTURE}` needs pytest-benchmark: pip install pytest-benchmark"
        )
    from rnnbench.pytest_plugin.items import parametrize

    parametrize(metafunc, CASE_FIXTURE, suite)


class Assertions:
    """The assertions of the fixture `rnnbench`; the marker `rnnbench` sets their defaults."""

    def __init__(self, defaults: Mapping[str, Any], properties: list[tuple[str, object]]) -> None:
        """`properties`: those of the test, which JUnit's XML shows."""
        self._defaults = defaults
        self._properties = properties

    def assert_not_slower(
        self,
        mine: Callable[..., object],
        *,
        than: Callable[..., object],
        factor: float,
        input: "Tensor | tuple[Any, ...] | Mapping[str, Tensor | tuple[Any, ...]]" = (),
        phase: "LivePhase | None" = None,
        budget: float | str | None = None,
        precision: float | str | None = None,
        threads: int | None = 1,
        undecided: Literal["fail", "skip", "pass"] | None = None,
        equal_outputs: bool = True,
    ) -> "NotSlowerResult":
        """Fail unless `mine` is shown to take at most `factor` times as long as `than`: `rnnbench.assert_not_slower`.

        A test that has no answer is skipped, with the sentence as its reason (`-rs` shows it), unless `undecided` says
        "fail" or "pass": on a busy machine, nothing can be said of modules that are equally fast. `None` stands for the
        value of the marker. Under pytest-xdist, such tests wait for each other, so that one at a time is timed. The
        sentence is printed (`-rP` shows it) and written to JUnit's XML.

        Args:
            mine: A torch module or a function.
            than: What it is compared with.
            factor: How many times as long `mine` may take.
            input: The input of both, or a mapping with the keys `mine` and `than`.
            phase: `inference`, `training` or `step`.
            budget: `"10s"` or seconds.
            precision: Stop without an answer when the ratio is known within this share.
            threads: How many threads torch uses.
            undecided: What to do without an answer: `skip` the test, which is the default, `fail` or `pass`.
            equal_outputs: Whether the outputs have to be equal.

        Returns:
            The result of `rnnbench.assert_not_slower`.

        Raises:
            AssertionError: `mine` is slower, outputs differ, or there is no answer and `undecided` is `fail`.
        """
        __tracebackhide__ = True
        from rnnbench.api.live import assert_not_slower

        arguments: dict[str, Any] = {"phase": phase, "budget": budget, "precision": precision, "undecided": undecided}
        settings = dict(self._defaults) | {name: value for name, value in arguments.items() if value is not None}
        options = {name: settings[name] for name in arguments if name in settings}
        if skips := options.get("undecided", "skip") == "skip":
            options["undecided"] = "pass"
        try:
            with timed_alone():
                result = assert_not_slower(
                    mine, than=than, factor=factor, input=input, threads=threads, equal_outputs=equal_outputs, **options
                )
        except AssertionError as error:
            self._properties.append(("rnnbench", str(error)))
            raise
        self._properties.append(("rnnbench", result.sentence))
        if skips and result.answer is None:
            pytest.skip(result.sentence)
        print(result.sentence)
        return result


@contextmanager
def timed_alone() -> Iterator[None]:
    """Wait until no other pytest-xdist process on this machine times a test; the others wait until this one is done.

    The lock is taken on this source file, which is opened for reading only. On a file system without locks, tests do
    not wait.
    """
    import fcntl  # not at the top: every pytest loads the plugin, on any system

    with Path(__file__).open("rb") as file:
        if "PYTEST_XDIST_WORKER" in os.environ:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def rnnbench(request: pytest.FixtureRequest) -> Assertions:
    """Compares live modules and functions by their time: `rnnbench.assert_not_slower`."""
    return Assertions(marked(request.node), request.node.user_properties)


@pytest.fixture
def rnnbench_case(request: pytest.FixtureRequest, benchmark: Any, _rnnbench_session: "Ask") -> Callable[[], None]:
    """Return a case of a suite: call it once, and pytest-benchmark has its time."""
    from rnnbench.pytest_plugin.items import benchmarked

    def call() -> None:
        request.node.stash[WAS_CALLED] = True
        benchmarked(benchmark, request, _rnnbench_session)

    return call


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passes without the call of its case: nothing would have been measured, unnoticed."""
    result = yield
    if CASE_FIXTURE in getattr(item, "fixturenames", ()) and WAS_CALLED not in item.stash:
        pytest.fail("rnnbench_case was not called, so nothing was measured; write rnnbench_case()", pytrace=False)
    return result


@pytest.fixture(scope="session")
def _rnnbench_session() -> "Iterator[Ask]":
    """Hold what all cases of a session share: their workers."""
    from rnnbench.pytest_plugin.items import workers

    yield from workers()
