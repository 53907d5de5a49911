"""The search on histories whose truth is known, and its answer; the measuring is simulated."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit
from rnnbench.analysis.estimate import Estimate
from rnnbench.check.bisect import answered, cases_to_search, margin_between
from rnnbench.check.commits import BudgetSpent
from rnnbench.errors import UserError
from rnnbench.store.records import Case
from rnnbench.suite.file import CheckSettings
from tests.check.simulated_history import MARGIN, SimulatedCommitRunner
from tests.doubles import workload as small
from tests.validation.noise import NOISES, MadeUp

QUIET = MadeUp(0.002, 0.0, shared=0.0, spoilt=0.0, spoilt_mean=0.0)
CASES = [small.case("vanilla", batch_size=size) for size in (1, 2)]
KEYS = [case.key for case in CASES]


def answer_of(
    slow: dict[int, float],
    operators: dict[int, int] | None = None,
    broken: tuple[int, ...] = (),
    noise: Any = QUIET,
    around: Callable[..., Any] = lambda compare, *arguments: compare(*arguments),
    commits: int = 20,
) -> Bisection:
    """The answer for some commits; `slow`: place -> slowdown, `operators`: place -> what it adds.

    `around` is called in place of the runner's `compare`, which it gets.
    """
    levels, calls = np.zeros(commits + 1), np.full(commits + 1, 100)
    for place, size in slow.items():
        levels[place:] += np.log1p(size)
    for place, more in (operators or {}).items():
        calls[place:] += more
    runs = [place not in broken for place in range(commits + 1)]
    runner: Any = SimulatedCommitRunner(np.random.default_rng(1), levels, calls.tolist(), runs, CASES, noise)
    runner.compare = partial(around, runner.compare)
    path = [Commit(str(place), parents=(str(place - 1),)) for place in range(commits + 1)]
    answer = Bisection("mine", path[0], path[-1], commits, {}, tuple(CASES))
    return answered(answer, runner, path, MARGIN, 120.0)


def named(answer: Bisection) -> dict[str, str]:
    return {cause.commit.sha: cause.witness for cause in answer.causes}


@pytest.mark.parametrize(
    ("slow", "operators", "expected"),
    [
        ({7: 0.05}, {7: 16}, {"7": "counts"}),
        ({7: 0.05}, {}, {"7": "time"}),
        ({5: 0.05, 12: 0.04}, {5: 16, 12: 16}, {"5": "counts", "12": "counts"}),
        ({5: 0.05, 12: 0.05}, {}, {"5": "time", "12": "time"}),
        ({5: 0.05, 12: 0.05}, {12: 16}, {"5": "time", "12": "counts"}),
        ({5: 0.06}, {12: 16}, {"5": "time"}),  # counts that grow without a slower time are no cause
        ({4: -0.05, 9: 0.15}, {4: -10, 9: 32}, {"9": "counts"}),  # a gain is not named
        ({7: 30.0}, {7: 16}, {"7": "counts"}),
    ],
)
def test_each_slow_commit_is_named_in_the_order_of_the_commits_by_what_shows_it(
    slow: dict[int, float], operators: dict[int, int], expected: dict[str, str]
) -> None:
    answer = answer_of(slow, operators)
    assert list(named(answer).items()) == list(expected.items())
    assert answer.is_complete
    assert set(answer.total) == {case.key for case in CASES}


@pytest.mark.parametrize(("operators", "broken", "ends"), [({7: 16}, (5, 6, 10), ("4", "7")), ({}, (7, 8), ("6", "9"))])
def test_commits_that_do_not_run_are_skipped_and_told_where_they_may_be_the_cause(
    operators: dict[int, int], broken: tuple[int, ...], ends: tuple[str, str]
) -> None:
    answer = answer_of({7: 0.05}, operators, broken)
    [cause] = answer.causes
    assert (cause.parent.sha, cause.commit.sha) == ends
    assert [int(commit.sha) for commit in cause.untested] == list(range(int(ends[0]) + 1, int(ends[1])))
    assert {commit.sha for commit in cause.untested} <= set(answer.skipped)


@pytest.mark.parametrize("noise", ["heavy tails", "pairs of unlike noise", "half shared by a pair"])
def test_in_noise_the_search_by_time_finds_the_commit(noise: str) -> None:
    assert named(answer_of({13: 0.06}, noise=NOISES[noise])) == {"13": "time"}


def test_after_a_wrong_turn_the_search_begins_anew_and_without_an_end_it_tells_suspects() -> None:
    def misled(left: Iterator[int], compare: Any, base: Commit, head: Commit, *more: Any) -> Any:
        changes = compare(base, head, *more)
        if (base.sha, head.sha) == ("0", "10") and next(left, None) is not None:
            return {key: CaseChange(change.verdict, Estimate(1.0, 0.99, 1.01)) for key, change in changes.items()}
        return changes

    assert named(answer_of({7: 0.05}, around=partial(misled, iter(range(1))))) == {"7": "time"}
    lost = answer_of({7: 0.05}, around=partial(misled, iter(range(100))))
    assert (lost.causes, set(lost.unexplained), lost.is_complete) == ((), set(KEYS), False)
    assert lost.suspects


def test_what_is_known_when_the_budget_ends_is_the_answer() -> None:
    left = iter(range(2))

    def spent(compare: Any, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise BudgetSpent
        return compare(*arguments)

    answer = answer_of({7: 0.05, 12: 0.02}, {7: 16}, around=spent)
    assert named(answer) == {"7": "counts"}
    assert [commit.sha for commit in answer.suspects] == [str(place) for place in range(1, 7)]
    assert (answer.is_finished, answer.is_complete) == (False, False)


@pytest.mark.parametrize("size", [0.0, -0.1])
def test_a_bad_that_is_not_slower_is_an_error(size: float) -> None:
    with pytest.raises(UserError, match="bad 20 is not slower than good 0: 0 of 2 cases regressed"):
        answer_of({3: size})


def test_a_bad_of_which_the_time_is_undecided_is_no_error_and_gets_a_third_of_the_budget() -> None:
    given = []

    def undecided(compare: Any, *arguments: Any) -> Any:
        given.append(arguments[-1])
        return {key: CaseChange("undecided", change.ratio) for key, change in compare(*arguments).items()}

    answer = answer_of({3: 0.0}, around=undecided)
    assert given == [300.0]
    assert not answer.is_complete
    assert answer.notes[-1].endswith("to decide whether anything became slower")


def test_the_only_commit_between_good_and_bad_is_named_by_their_first_comparison() -> None:
    compared = []

    def once(compare: Any, *arguments: Any) -> Any:
        compared.append(arguments)
        return compare(*arguments)

    assert named(answer_of({1: 0.06}, around=once, commits=1)) == {"1": "time"}
    assert len(compared) == 1


def test_the_clearest_cases_of_each_cell_are_searched_for() -> None:
    cases = [small.case(cell, batch_size=size) for cell in ("vanilla", "gru") for size in (1, 2, 3, 4)]
    total = {
        case.key: CaseChange("regressed", Estimate(1.1, 1 + 0.01 * case.workload.batch_size, 1.2)) for case in cases
    }
    by_key: dict[str, Case] = {case.key: case for case in cases}
    found = [(by_key[key].cell, by_key[key].workload.batch_size) for key in cases_to_search(total, by_key)]
    assert found == [("vanilla", 4), ("gru", 4), ("vanilla", 3), ("gru", 3)]
    assert cases_to_search({case.key: CaseChange("unchanged") for case in cases}, by_key) == []


def test_the_margin_of_a_huge_slowdown_is_one_that_a_suite_may_have() -> None:
    assert all(CheckSettings.model_validate({"margin": margin_between(log)}) for log in (0.0, 0.1, 5.0))
