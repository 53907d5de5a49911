"""`assert_not_slower` as users' tests call it, under real pytest."""

import fcntl
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas
import pytest
import torch
from torch import nn

from rnnbench import pytest_plugin
from rnnbench.api import live
from rnnbench.pytest_plugin import Assertions
from tests.pytest_plugin.conftest import Run

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")
# pytest in this process forgets what it has imported, and torch can't be imported twice.
IMPORTED = (pandas, live)

WEIGHT, INPUT = torch.eye(64), torch.randn(64, 64)
HEAD = """
import pytest, torch
from tests.pytest_plugin.test_assertions import INPUT, more, some
"""


def some(input: torch.Tensor) -> torch.Tensor:
    return input @ WEIGHT


def more(input: torch.Tensor) -> torch.Tensor:
    """Compute the product of `some` forty times."""
    for _ in range(40):
        product = input @ WEIGHT
    return product


def ran(isolated: pytest.Pytester, in_process: Run, test: str, *options: str) -> pytest.RunResult:
    isolated.makepyfile(HEAD + test)
    return in_process(*options)


SLOWER = """
def test_mine(rnnbench):
    rnnbench.assert_not_slower(more, than=some, input=INPUT, factor=2)
"""


def test_a_slower_function_fails_its_test_with_two_lines_below_the_users_own(
    isolated: pytest.Pytester, in_process: Run
) -> None:
    result = ran(isolated, in_process, SLOWER, "--junit-xml=out.xml")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert ">       rnnbench.assert_not_slower(more, than=some, input=INPUT, factor=2)" in text
    error_lines = [line for line in result.outlines if line.startswith("E ")]
    assert len(error_lines) == 2
    assert error_lines[0].startswith("E       AssertionError: slower: more takes ")
    assert "× (99% interval " in error_lines[0]
    assert error_lines[0].endswith("more than the 2× allowed")
    assert "outputs agree" in error_lines[1]
    assert "__init__.py" not in text
    [noted] = ElementTree.parse(isolated.path / "out.xml").iter("property")
    assert noted.attrib["value"].startswith("slower: more takes ")


def test_one_that_is_not_slower_passes_and_says_by_how_much(isolated: pytest.Pytester, in_process: Run) -> None:
    test = "def test_mine(rnnbench): rnnbench.assert_not_slower(some, than=more, input=INPUT, factor=0.5)"
    result = ran(isolated, in_process, test, "-rP")
    result.assert_outcomes(passed=1)
    assert "not slower: some takes 0." in result.stdout.str()


@pytest.mark.parametrize(
    ("policy", "outcome"), [("", "skipped"), ("undecided='fail'", "failed"), ("undecided='pass'", "passed")]
)
def test_what_a_budget_can_not_decide_is_skipped_unless_it_is_told_otherwise(
    isolated: pytest.Pytester, in_process: Run, policy: str, outcome: str
) -> None:
    # This budget has room for one round, which says nothing about the spread.
    test = f"""
@pytest.mark.rnnbench(budget=1e-9, {policy})
def test_mine(rnnbench):
    rnnbench.assert_not_slower(more, than=some, input=INPUT, factor=2)
"""
    result = ran(isolated, in_process, test, "-rsP")
    result.assert_outcomes(**{outcome: 1})
    text = result.stdout.str()
    assert "undecided: more takes " in text
    assert "(no interval)" in text
    assert "1 replicate in " in text


def test_the_nearest_marker_counts_and_the_call_before_it(isolated: pytest.Pytester, in_process: Run) -> None:
    test = """
pytestmark = pytest.mark.rnnbench(budget="1h", undecided="pass", phase="training")

@pytest.mark.rnnbench(budget=1e-9)
class TestMine:
    @pytest.mark.rnnbench(phase="inference")
    def test_mine(self, rnnbench):
        result = rnnbench.assert_not_slower(more, than=some, input=INPUT, factor=2)
        assert (result.phase, result.budget_seconds, result.answer) == ("inference", 1e-9, None)
        assert rnnbench.assert_not_slower(more, than=some, input=INPUT, factor=2, budget="60s").budget_seconds == 60
"""
    result = ran(isolated, in_process, test)
    result.assert_outcomes(failed=1)  # by the second, which is slower
    assert "AssertionError: slower: more" in result.stdout.str()


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            "budet='2s'",
            "marker rnnbench: no key 'budet' (did you mean 'budget'?); "
            "there are suite, budget, precision, phase, undecided",
        ),
        ("'2s'", "marker rnnbench: it takes names only, such as suite='mine.toml'; found '2s'"),
        ("budget='2 parsecs'", "ValueError: budget: '2 parsecs' is not a duration; expected for example 90s, 5m or 1h"),
        ("precision=2", "ValueError: precision: 2 must be between 0% and 100%, such as 2% or 0.02"),
        (
            "undecided='maybe'",
            "ValueError: undecided: expected fail or pass, or skip in a test of pytest; found",
        ),
        ("phase='train'", "ValueError: phase: expected one of inference, training, step, found 'train'"),
    ],
)
def test_a_marker_that_is_wrong_is_said_in_a_line(
    isolated: pytest.Pytester, in_process: Run, mark: str, message: str
) -> None:
    test = f"@pytest.mark.rnnbench({mark})\n{SLOWER.strip()}"
    assert message in ran(isolated, in_process, test).stdout.str()


def test_other_outputs_fail_before_anything_is_timed_unless_they_may_differ() -> None:
    mine, layer = nn.LSTM(3, 5), nn.LSTM(3, 5)
    arguments: dict[str, Any] = {"than": layer, "input": torch.randn(4, 2, 3), "factor": 100.0, "budget": 300}
    with pytest.raises(AssertionError, match=r"^outputs differ: mine's output is not the other's, and nothing was"):
        Assertions({}, []).assert_not_slower(mine, **arguments)
    properties: list[tuple[str, object]] = []
    assert Assertions({}, properties).assert_not_slower(mine, **arguments, equal_outputs=False).answer == "not slower"
    assert len(properties) == 1


@pytest.mark.parametrize("worker", ["gw0", None])
def test_under_xdist_one_process_times_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: str | None
) -> None:
    file = tmp_path / "lock"
    file.touch()
    monkeypatch.setattr(pytest_plugin, "__file__", str(file))  # which other tests of this run do not lock
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if worker:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    with file.open("rb") as another:
        with pytest_plugin.timed_alone(), pytest.raises(BlockingIOError) if worker else nullcontext():
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
