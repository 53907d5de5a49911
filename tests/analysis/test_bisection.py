"""Which commit made cases slower: the answer."""

import json
import math

import pytest

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.estimate import Estimate

GOOD, BAD = Commit("a" * 40, "good"), Commit("b" * 40, "bad")


def test_a_change_is_read_as_it_was_kept() -> None:
    change = CaseChange("undecided", Estimate(1.1, 1.05, 1.15), (("operators", 10, 12),), "why")
    assert (change.log, CaseChange(None).log) == (math.log(1.1), 0.0)
    for each in (change, CaseChange(None, None, (), "skipped")):
        assert CaseChange.from_json(json.loads(json.dumps(each.to_json()))) == each


@pytest.mark.parametrize(
    ("count", "does_more"),
    [(("operators", 10, 12), True), (("operators", 12, 10), False), (("parameters", 10, 12), False)],
)
def test_more_work_is_more_of_what_takes_time(count: tuple[str, int, int], does_more: bool) -> None:
    assert CaseChange(None, None, (count,)).does_more is does_more


def test_an_answer_is_complete_if_every_cause_is_confirmed_and_nothing_is_left() -> None:
    cause = SlowCommit(BAD, GOOD, {}, True, "time")
    assert Bisection("s", GOOD, BAD, 1, {}, causes=(cause,)).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(cause,), is_finished=False).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(SlowCommit(BAD, GOOD, {}, False, "counts"),)).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(cause,), unexplained=("cell=gru",)).is_complete
