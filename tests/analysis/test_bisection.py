"""The answer of a bisection: what a case's change says, and when the answer is complete."""

import math
from dataclasses import replace

import pytest

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.comparison import Change
from rnnbench.analysis.estimate import Estimate


@pytest.mark.parametrize(
    ("change", "does_more"),
    [
        (Change("operators", 10, 12), True),
        (Change("allocations", 3, 4), True),
        (Change("operators", 12, 10), False),
        (Change("peak_bytes", 10, 12), False),  # no work of a call
    ],
)
def test_a_case_does_more_if_a_count_of_its_work_grows(change: Change, *, does_more: bool) -> None:
    fewer = Change("macs", 5, 4)
    assert CaseChange("undecided", changes=(fewer, change)).does_more is does_more


def test_a_change_is_the_logarithm_of_its_ratio_and_none_if_that_is_not_known() -> None:
    assert CaseChange("regressed", Estimate(1.1, 1.05, 1.2)).log == pytest.approx(math.log(1.1))
    assert CaseChange(None).log == 0.0


def test_an_answer_is_complete_if_confirmed_commits_explain_all_and_the_budget_was_enough() -> None:
    first, last = Commit("a" * 40), Commit("b" * 40)
    cause = SlowCommit(last, first, {}, is_confirmed=True, witness="time")
    whole = Bisection("mine", first, last, 1, {}, causes=(cause,))
    assert whole.is_complete
    for change in (
        {"causes": ()},
        {"causes": (cause, replace(cause, is_confirmed=False))},
        {"unexplained": ("case",)},
        {"is_finished": False},
    ):
        assert not replace(whole, **change).is_complete
    assert last.short == "bbbbbbb"
