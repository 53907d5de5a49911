"""The answer of a bisection: what a case's change says, and when the answer is complete."""

import math
from dataclasses import replace

import pytest

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.estimate import Estimate


def test_a_change_is_the_logarithm_of_its_ratio_and_none_if_that_is_not_known() -> None:
    assert CaseChange("regressed", Estimate(1.1, 1.05, 1.2)).log == pytest.approx(math.log(1.1))
    assert CaseChange(None).log == 0.0


def test_an_answer_is_complete_if_commits_explain_all_and_the_budget_was_enough() -> None:
    first, last = Commit("a" * 40), Commit("b" * 40)
    cause = SlowCommit(last, first, {}, witness="time")
    whole = Bisection("mine", first, last, 1, {}, causes=(cause,))
    assert whole.is_complete
    for change in (
        {"causes": ()},
        {"unexplained": ("case",)},
        {"is_finished": False},
    ):
        assert not replace(whole, **change).is_complete
    assert last.short == "bbbbbbb"
