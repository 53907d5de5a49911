"""Which commit made cases slower: the answer."""

import json
import math

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.comparison import Change, Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.store.metrics import METRICS
from tests.doubles import workload as small

METRIC = {metric.name: metric for metric in METRICS}
GOOD, BAD = Commit("a" * 40, "good"), Commit("b" * 40, "bad")
MORE = Change(METRIC["operators"], 10, 12)


def test_a_change_of_a_case_is_read_as_it_was_kept() -> None:
    for change in (
        CaseChange("regressed", Estimate(1.1, 1.05, 1.15), (MORE,)),
        CaseChange(None, None, (), "skipped"),
        CaseChange("undecided", Estimate(1.1, -math.inf, math.inf)),
    ):
        assert CaseChange.from_json(json.loads(json.dumps(change.to_json()))) == change


def test_the_change_of_a_case_is_what_a_check_found_of_its_time_and_counts() -> None:
    low = Estimate(1.1, 1.05, 1.15)
    found = Finding(small.case("gru"), "regressed", 0.02, "why", low, low, 6, (MORE,), "undecided")
    assert CaseChange.of(found) == CaseChange("undecided", low, (MORE,), "why")
    assert CaseChange.of(found).log == math.log(1.1)
    assert (CaseChange.of(found).at_least, CaseChange(None).log, CaseChange(None).at_least) == (1.05, 0.0, 0.0)


def test_more_work_is_more_of_what_takes_time() -> None:
    assert CaseChange(None, None, (MORE,)).does_more
    assert not CaseChange(None, None, (Change(METRIC["operators"], 12, 10),)).does_more
    assert not CaseChange(None, None, (Change(METRIC["parameters"], 10, 12),)).does_more
    assert not CaseChange(None).does_more


def test_an_answer_is_complete_if_every_cause_is_confirmed_and_nothing_is_left() -> None:
    cause = SlowCommit(BAD, GOOD, {}, True, "time")
    assert Bisection("s", GOOD, BAD, 1, {}, causes=(cause,)).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(cause,), is_finished=False).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(SlowCommit(BAD, GOOD, {}, False, "counts"),)).is_complete
    assert not Bisection("s", GOOD, BAD, 1, {}, causes=(cause,), unexplained=("cell=gru",)).is_complete
