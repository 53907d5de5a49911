"""A bisection from start to end, with a simulated runner."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench.analysis.bisection import Bisection, Commit
from rnnbench.errors import UserError
from rnnbench.harness.bisect.bisect import NOTHING_CONFIRMED, _answered, _of_the_code
from rnnbench.harness.bisect.commits import BudgetSpent, count_changes
from rnnbench.store.records import Group
from rnnbench.suite import suites
from tests.doubles import workload as small
from tests.harness.bisect.test_search import CASES, QUIET
from tests.validation.bisect_simulated import SimulatedCommitRunner

GROUPS = [Group(case.workload, (case,)) for case in CASES]
PATH = [Commit(str(place), parents=(str(place - 1),)) for place in range(9)]


def answered(sizes: dict[int, float], operators: dict[int, int], runner_of: Any = lambda runner: runner) -> Bisection:
    levels, calls = np.zeros(9), np.full(9, 100)
    for place, size in sizes.items():
        levels[place:] += np.log1p(size)
    for place, more in operators.items():
        calls[place:] += more
    runner: Any = SimulatedCommitRunner(np.random.default_rng(1), levels, calls.tolist(), [True] * 9, CASES, QUIET)
    answer = Bisection("mine", PATH[0], PATH[-1], 8, {}, tuple(CASES))
    return _answered(answer, runner_of(runner), suites.read("ci"), Path(), PATH, GROUPS, 900.0)


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
        """A runner whose clock decides nothing."""

        def __init__(self, runner: Any) -> None:
            self._runner = runner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._runner, name)

        def compare(self, base: Commit, head: Commit, keys: Any, *more: Any, **options: Any) -> Any:
            before, after = (self._runner.counts(commit, keys) for commit in (base, head))
            changes = count_changes(before, after)
            compared = self._runner.compare(base, head, keys, *more, **options)
            return {
                key: replace(change, verdict="undecided", changes=changes[key].changes if key in changes else ())
                for key, change in compared.items()
            }

    answer = answered({3: 0.01}, {3: 16}, Undecided)
    assert [(cause.commit.sha, cause.is_confirmed) for cause in answer.causes] == [("3", False)]
    assert not answer.is_complete
    assert answer.notes[-1] == NOTHING_CONFIRMED


def test_what_was_found_when_the_budget_ends_is_the_answer() -> None:
    class Spent:
        """A runner whose budget ends after two comparisons."""

        def __init__(self, runner: Any) -> None:
            self._runner, self._left = runner, 2

        def __getattr__(self, name: str) -> Any:
            return getattr(self._runner, name)

        def compare(self, *arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise BudgetSpent
            return self._runner.compare(*arguments, **options)

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
