"""The answer of a bisection, as people and programs read it."""

import json
import math
from dataclasses import replace

import pytest

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.changes import Change
from rnnbench.analysis.estimate import Estimate
from rnnbench.report.verdicts import bisection, bisection_json
from rnnbench.store.metrics import METRICS
from tests.doubles import workload as small

METRIC = {metric.name: metric for metric in METRICS}
CASES = tuple(small.case("gru", batch_size=size) for size in (1, 2, 3, 4, 5))
GOOD, BAD = Commit("a" * 40, "good", "2026-11-01T08:00:00+00:00"), Commit("b" * 40, "bad", "2026-11-27T08:00:00+00:00")
SLOW = Commit("c" * 40, "Keep h in double", "2026-11-20T08:00:00+00:00")
BEFORE, BROKEN = Commit("d" * 40), Commit("e" * 40, "wip")
CHANGE = CaseChange("regressed", Estimate(1.05, 1.04, 1.06), (Change(METRIC["operators"], 100, 116),))
FOUND = SlowCommit(SLOW, BEFORE, {CASES[0].key: CHANGE}, True, "counts")
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


def test_the_commit_comes_with_its_change_its_cause_and_how_sure_it_is() -> None:
    text = bisection.render(ANSWER)
    assert text.startswith("mine: 41 commits from good aaaaaaa to bad bbbbbbb. 83.0 s.\n")
    assert "bbbbbbb against aaaaaaa: 2 of 5 cases slower; the worst is gru loop inference, batch 1: 5.0% slower" in text
    assert "This commit made them slower:\n\n  ccccccc 2026-11-20 Keep h in double\n" in text
    assert "    gru loop inference, batch 1: 5.0% slower (+4.0% to +6.0%)\n" in text
    assert "    Likely cause: 16 more operator calls (100 -> 116, +16%)\n" in text
    assert "Confirmed by a comparison with its parent ddddddd (wrong in at most 1% of searches)" in text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (replace(ANSWER, causes=()), "No commit was found."),
        (replace(ANSWER, causes=(FOUND, FOUND)), "These 2 commits made them slower:"),
        (
            replace(ANSWER, causes=(replace(FOUND, is_confirmed=False),)),
            "This commit does more work:",
        ),
        (
            replace(ANSWER, causes=(replace(FOUND, is_confirmed=False),)),
            "The counts are exact; the time against its parent ddddddd is not decided",
        ),
        (replace(ANSWER, causes=(replace(FOUND, merged_by=BAD),)), "Keep h in double, merged by bbbbbbb"),
        (
            replace(ANSWER, causes=(replace(FOUND, untested=(BROKEN,)),)),
            "The cause may also be a commit before it that does not run: eeeeeee",
        ),
        (
            replace(ANSWER, causes=(replace(FOUND, cases={CASES[0].key: replace(CHANGE, changes=())}),)),
            "As many operator calls and allocations as before: slower kernels, or other code between them",
        ),
        (
            replace(ANSWER, unexplained=tuple(case.key for case in CASES)),
            "No commit was found for: gru loop inference, batch 1; gru loop inference, batch 2; gru loop inference, "
            "batch 3 and 2 more.",
        ),
        (
            replace(ANSWER, causes=(), suspects=(SLOW, BEFORE, BROKEN, BAD)),
            "The most likely of the commits searched: ccccccc, ddddddd, eeeeeee and 1 more.",
        ),
        (replace(ANSWER, skipped={"eeeeeee": "No module\nnamed x"}), "eeeeeee does not run: No module named x"),
        (
            replace(ANSWER, skipped={"eeeeeee": "x"}),
            "bad bbbbbbb, 1 commit tried does not run. 83.0 s.",
        ),
        (ANSWER.with_notes("a note"), "\na note"),
    ],
)
def test_what_is_open_is_told(answer: Bisection, text: str) -> None:
    assert text in bisection.render(answer)


def test_many_cases_are_counted() -> None:
    many = replace(FOUND, cases={case.key: CHANGE for case in CASES})
    assert "    and 2 more cases\n" in bisection.render(replace(ANSWER, causes=(many,)))


def test_programs_get_everything_without_infinite_numbers() -> None:
    open_case = CaseChange("inconclusive", Estimate(1.0, math.nan, math.inf))
    answer = replace(ANSWER, total={CASES[0].key: open_case}, skipped={"e": "x"}, suspects=(BAD,))
    content = json.loads(bisection_json.render(answer))
    assert content["total"][0]["ratio"] == {"value": 1.0, "lower": None, "upper": None}
    assert content["causes"][0]["commit"] == {"sha": SLOW.sha, "subject": SLOW.subject, "date": SLOW.date}
    assert content["causes"][0]["cases"][0]["changes"] == [["operators", 100, 116]]
    assert (content["is_complete"], content["max_error"], content["skipped"]) == (True, 0.01, {"e": "x"})
