"""A bisection from start to end, with a simulated laboratory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench import suites
from rnnbench.analysis.bisection import Bisection, Commit
from rnnbench.errors import UserError
from rnnbench.harness.bisect.bisect import NOTHING_CONFIRMED, _answered, _of_the_code
from rnnbench.harness.bisect.laboratory import BudgetSpent, grown
from rnnbench.store.records import Group
from tests import workload as small
from tests.harness.bisect.test_search import CASES, QUIET
from tests.validation.bisect_simulated import SimulatedLaboratory

GROUPS = [Group(case.workload, (case,)) for case in CASES]
PATH = [Commit(str(place), parents=(str(place - 1),)) for place in range(9)]


def answered(sizes: dict[int, float], operators: dict[int, int], lab_of: Any = lambda lab: lab) -> Bisection:
    levels, calls = np.zeros(9), np.full(9, 100)
    for place, size in sizes.items():
        levels[place:] += np.log1p(size)
    for place, more in operators.items():
        calls[place:] += more
    lab: Any = SimulatedLaboratory(np.random.default_rng(1), levels, calls.tolist(), [True] * 9, CASES, QUIET)
    answer = Bisection("mine", PATH[0], PATH[-1], 8, {}, tuple(CASES))
    return _answered(answer, lab_of(lab), suites.read("ci"), Path(), PATH, GROUPS, 900.0)


def test_the_answer_has_the_cause_and_what_it_took() -> None:
    answer = answered({3: 0.06}, {3: 16})
    assert [cause.commit.sha for cause in answer.causes] == ["3"]
    assert answer.is_complete
    assert answer.seconds > 0
    assert set(answer.total) == {case.key for case in CASES}


def test_causes_come_in_the_order_of_the_commits() -> None:
    answer = answered({2: 0.06, 6: 0.06}, {6: 16})
    assert [cause.commit.sha for cause in answer.causes] == ["2", "6"]


@pytest.mark.parametrize("size", [0.0, -0.1])
def test_a_bad_that_is_not_slower_is_an_error(size: float) -> None:
    with pytest.raises(UserError, match="bad 8 is not slower than good 0: 0 of 2 cases regressed"):
        answered({3: size}, {})


def test_counts_lead_where_the_time_of_both_ends_does_not_decide() -> None:
    class Undecided:
        """A laboratory whose clock decides nothing."""

        def __init__(self, lab: Any) -> None:
            self._lab = lab

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lab, name)

        def compare(self, base: Commit, head: Commit, keys: Any, question: Any) -> Any:
            before, after = (self._lab.counts(commit, keys) for commit in (base, head))
            changes = grown(before, after)
            compared = self._lab.compare(base, head, keys, question)
            return {
                key: replace(change, verdict="inconclusive", changes=changes[key].changes if key in changes else ())
                for key, change in compared.items()
            }

    answer = answered({3: 0.01}, {3: 16}, Undecided)
    assert [(cause.commit.sha, cause.is_confirmed) for cause in answer.causes] == [("3", False)]
    assert not answer.is_complete
    assert answer.notes[-1] == NOTHING_CONFIRMED


def test_what_was_found_when_the_budget_ends_is_the_answer() -> None:
    class Spent:
        """A laboratory whose budget ends after two comparisons."""

        def __init__(self, lab: Any) -> None:
            self._lab, self._left = lab, 2

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lab, name)

        def compare(self, *arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise BudgetSpent
            return self._lab.compare(*arguments)

    answer = answered({3: 0.06}, {3: 16}, Spent)
    assert [cause.is_confirmed for cause in answer.causes] == [True]
    assert not answer.is_finished
    assert not answer.is_complete, "what lies beside the cause was not compared"
    assert answer.notes[-1] == "the budget of 900 s was spent before the search ended"


def test_torchs_own_cases_are_left_out() -> None:
    own = small.reference_case("gru")
    [kept] = _of_the_code([Group(own.workload, (own, small.case("gru")))])
    assert [case.cell for case in kept.cases] == ["gru"]
    with pytest.raises(UserError, match=r"only torch\.nn's own cases are selected"):
        _of_the_code([Group(own.workload, (own,))])
