"""The answer of a bisection, as people and programs read it."""

import json
from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.comparison import Change
from rnnbench.analysis.estimate import Estimate
from rnnbench.report.verdicts.outputs import bisection_json, bisection_text
from tests.doubles import workload as small

CASES = tuple(small.case("gru", batch_size=size) for size in (1, 2, 3, 4, 5))
GOOD, BAD = Commit("a" * 40, "good", "2026-11-01T08:00:00+00:00"), Commit("b" * 40, "bad", "2026-11-27T08:00:00+00:00")
SLOW = Commit("c" * 40, "Keep h in double", "2026-11-20T08:00:00+00:00")
BEFORE, BROKEN = Commit("d" * 40), Commit("e" * 40, "wip")
CHANGE = CaseChange("regressed", Estimate(1.05, 1.04, 1.06), (Change("operators", 100, 116),))
FOUND = SlowCommit(SLOW, BEFORE, {CASES[0].key: CHANGE}, "counts")
MERGE = replace(SLOW, parents=("d" * 40, "f" * 40))
ANSWER = Bisection(
    "mine",
    GOOD,
    BAD,
    41,
    {
        case.key: CHANGE if number < 2 else CaseChange("unchanged", Estimate(1.0, 0.99, 1.01))
        for number, case in enumerate(CASES)
    },
    CASES,
    (FOUND,),
    seconds=83.0,
)


ANSWERS = {
    "one commit": ANSWER,
    "no commit": replace(ANSWER, causes=()),
    "two commits": replace(ANSWER, causes=(FOUND, FOUND)),
    "a merge": replace(ANSWER, causes=(replace(FOUND, commit=MERGE),)),
    "a commit before it does not run": replace(ANSWER, causes=(replace(FOUND, untested=(BROKEN,)),)),
    "without more operators": replace(
        ANSWER, causes=(replace(FOUND, cases={CASES[0].key: replace(CHANGE, changes=())}),)
    ),
    "many cases": replace(ANSWER, causes=(replace(FOUND, cases={case.key: CHANGE for case in CASES}),)),
    "cases without a commit": replace(ANSWER, unexplained=tuple(case.key for case in CASES)),
    "suspects": replace(ANSWER, causes=(), suspects=(SLOW, BEFORE, BROKEN, BAD)),
    "a commit that does not run": replace(ANSWER, skipped={"eeeeeee": "No module\nnamed x"}),
    "a note": replace(ANSWER, notes=("a note",)),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_answer_names_commit_change_cause_and_what_is_open(kind: str, snapshot: SnapshotAssertion) -> None:
    assert bisection_text(ANSWERS[kind]) == snapshot


def test_programs_get_everything() -> None:
    answer = replace(ANSWER, total={CASES[0].key: CaseChange("undecided")}, skipped={"e": "x"}, suspects=(BAD,))
    content = json.loads(bisection_json(answer))
    assert (content["total"][0]["case"], content["total"][0]["ratio"]) == (CASES[0].key, None)
    assert content["causes"][0]["commit"] == {**vars(SLOW), "parents": []}
    assert content["causes"][0]["cases"][0]["changes"] == [{"metric": "operators", "base": 100, "head": 116}]
    assert (content["is_complete"], content["skipped"]) == (True, {"e": "x"})
