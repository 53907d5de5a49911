"""The search on histories whose truth is known, and its answer; the measuring is simulated."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit
from rnnbench.analysis.estimate import Estimate
from rnnbench.check import bisect as module
from rnnbench.check.bisect import NOTHING_CONFIRMED, Search, answered, cases_to_search
from rnnbench.check.commits import BisectOptions, BudgetSpent, count_changes
from rnnbench.errors import UserError
from rnnbench.store.records import Case
from rnnbench.suite import suites
from rnnbench.suite.file import CheckSettings
from tests.check.simulated_history import MARGIN, SimulatedCommitRunner
from tests.doubles import repository
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
    around: Callable[..., Any] = lambda runner, compare, *arguments: compare(*arguments),
) -> Bisection:
    """The answer for 20 commits; `slow`: place -> slowdown, `operators`: place -> what it adds.

    `around` is called in place of the runner's `compare`, which it gets.
    """
    levels, calls = np.zeros(21), np.full(21, 100)
    for place, size in slow.items():
        levels[place:] += np.log1p(size)
    for place, more in (operators or {}).items():
        calls[place:] += more
    runs = [place not in broken for place in range(21)]
    runner: Any = SimulatedCommitRunner(np.random.default_rng(1), levels, calls.tolist(), runs, CASES, noise)
    runner.compare = partial(around, runner, runner.compare)
    path = [Commit(str(place), parents=(str(place - 1),)) for place in range(21)]
    return answered(Bisection("mine", path[0], path[-1], 20, {}, tuple(CASES)), runner, path, MARGIN, 120.0)


def named(answer: Bisection) -> dict[str, str]:
    return {cause.commit.sha: cause.witness for cause in answer.causes if cause.is_confirmed}


@pytest.mark.parametrize(
    ("slow", "operators", "expected"),
    [
        ({7: 0.05}, {7: 16}, {"7": "counts"}),
        ({7: 0.05}, {}, {"7": "time"}),
        ({5: 0.05, 12: 0.04}, {5: 16, 12: 16}, {"5": "counts", "12": "counts"}),
        ({5: 0.05, 12: 0.05}, {}, {"5": "time", "12": "time"}),
        ({5: 0.05, 12: 0.05}, {12: 16}, {"5": "time", "12": "counts"}),
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
    assert answer.seconds > 0
    assert set(answer.total) == {case.key for case in CASES}


def test_counts_that_grow_without_a_slower_time_are_no_cause() -> None:
    assert named(answer_of({5: 0.06}, {5: 16, 12: 1})) == {"5": "counts"}


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
    def misled(left: Iterator[int], runner: Any, compare: Any, base: Commit, head: Commit, *more: Any) -> Any:
        changes = compare(base, head, *more)
        if (base.sha, head.sha) == ("0", "10") and next(left, None) is not None:
            return {key: replace(change, ratio=Estimate(1.0, 0.99, 1.01)) for key, change in changes.items()}
        return changes

    assert named(answer_of({7: 0.05}, around=partial(misled, iter(range(1))))) == {"7": "time"}
    lost = answer_of({7: 0.05}, around=partial(misled, iter(range(100))))
    assert (lost.causes, set(lost.unexplained), lost.is_complete) == ((), set(KEYS), False)
    assert lost.suspects


def test_what_is_known_when_the_budget_ends_is_the_answer() -> None:
    left = iter(range(2))

    def spent(runner: Any, compare: Any, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise BudgetSpent
        return compare(*arguments)

    answer = answer_of({7: 0.05, 12: 0.05}, {7: 16, 12: 16}, around=spent)
    assert [(cause.commit.sha, cause.is_confirmed) for cause in answer.causes] == [("7", True), ("12", False)]
    assert (answer.is_finished, answer.is_complete) == (False, False)
    assert answer.notes[-1] == "the budget of 900 s was spent before the search ended"


@pytest.mark.parametrize("size", [0.0, -0.1])
def test_a_bad_that_is_not_slower_is_an_error(size: float) -> None:
    with pytest.raises(UserError, match="bad 20 is not slower than good 0: 0 of 2 cases regressed"):
        answer_of({3: size})


def test_a_bad_of_which_the_time_is_undecided_is_no_error_and_gets_a_third_of_the_budget() -> None:
    given = []

    def undecided(runner: Any, compare: Any, *arguments: Any) -> Any:
        given.append(arguments[-1])
        return {key: replace(change, verdict="undecided") for key, change in compare(*arguments).items()}

    answer = answer_of({3: 0.0}, around=undecided)
    assert given == [300.0]
    assert {change.verdict for change in answer.total.values()} == {"undecided"}
    assert not answer.is_complete
    assert answer.notes[-1].endswith("to decide whether anything became slower")


def test_counts_lead_where_the_time_of_both_ends_does_not_decide() -> None:
    def undecided(runner: Any, compare: Any, base: Commit, head: Commit, keys: Any, *more: Any) -> Any:
        changes = count_changes(*(runner.counts(commit, keys) for commit in (base, head)))
        compared = compare(base, head, keys, *more)
        return {
            key: replace(change, verdict="undecided", changes=changes[key].changes if key in changes else ())
            for key, change in compared.items()
        }

    answer = answer_of({3: 0.01}, {3: 16}, around=undecided)
    assert [(cause.commit.sha, cause.is_confirmed) for cause in answer.causes] == [("3", False)]
    assert not answer.is_complete
    assert answer.notes[-1] == NOTHING_CONFIRMED


BRANCH = [Commit("5"), *(Commit(str(place), parents=(str(place - 1),)) for place in (21, 22, 23))]


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize(
    ("brought", "ends", "expected"),
    [
        ([BRANCH], (0, 20), [("22", "7")]),
        ([BRANCH[:2], BRANCH[1:3]], (0, 20), [("22", "7")]),  # the first shows nothing, the second has one commit
        ([BRANCH[:2]], (0, 20), [("7", None)]),  # the merge itself is slower
        ([BRANCH], (6, 7), [("22", "7")]),  # nothing else lies between the ends
    ],
)
def test_a_branch_is_searched_behind_its_merge(
    monkeypatch: pytest.MonkeyPatch, brought: list[list[Commit]], ends: tuple[int, int], expected: Any, seen: bool
) -> None:
    """On a path with the merge 7, whose branch is played by the places 21, 22 (which is slow) and 23."""
    levels, calls = np.zeros(25), np.full(25, 100)
    levels[7:21] = levels[22:24] = np.log1p(0.06)
    calls[7:21] = calls[22:24] = 116 if seen else 100
    runner: Any = SimulatedCommitRunner(np.random.default_rng(1), levels, calls.tolist(), [True] * 25, CASES, QUIET)
    path = [Commit(str(place), parents=("6", "23") if place == 7 else (str(place - 1),)) for place in range(21)]
    path = path[ends[0] : ends[1] + 1]
    monkeypatch.setattr(module, "branches", lambda *_: brought)
    total = runner.compare(path[0], path[-1], KEYS, MARGIN)
    search = Search(runner, path, total, dict.fromkeys(KEYS, "vanilla"), MARGIN)
    search.run()
    assert [(each.commit.sha, each.merged_by.sha if each.merged_by else None) for each in search.causes] == expected
    assert all(cause.is_confirmed for cause in search.causes)
    is_named_twice = ends == (6, 7) and not seen  # by the time of good and bad, and by that of the branch
    assert search.max_error == pytest.approx(0.02 if is_named_twice else 0.01)


def test_the_only_commit_between_good_and_bad_is_named_with_the_whole_error_rate_and_no_more() -> None:
    runner: Any = SimulatedCommitRunner(
        np.random.default_rng(1), np.log1p([0.0, 0.06]), [100, 100], [True] * 2, CASES, QUIET
    )
    path = [Commit("0"), Commit("1", parents=("0",))]
    answer = answered(Bisection("mine", path[0], path[1], 1, {}, tuple(CASES)), runner, path, MARGIN, 120.0)
    assert named(answer) == {"1": "time"}
    assert answer.max_error == pytest.approx(0.01)


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
    assert all(CheckSettings.model_validate({"margin": module._margin(log)}) for log in (0.0, 0.1, 5.0))


SUITE = """
name = "mine"
[check]
margin = 0.04
budget_seconds = 90
[[sweep]]
cell = "gru"
implementation = ["loop"]
batch_size = [1, 2]
"""


def test_commits_without_the_suite_are_measured_with_todays_and_that_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = ({"my.py": "1"}, {"my.py": "2", "mine.toml": SUITE})
    good, bad = (repository.commit(tmp_path / "there", each) for each in edits)
    monkeypatch.setattr(module, "answered", lambda answer, *_: answer)
    how: Any = {"out": tmp_path / "out", "on_step": lambda words, left: None}
    options = BisectOptions(good, bad, {}, None, (), "", 600.0)
    suite = suites.read(str(tmp_path / "there" / "mine.toml"))
    _, answer = module.bisect(suite, options, resume=None, **how)
    assert answer.notes == ("commits that lack mine.toml are measured with today's",)


def test_no_commit_is_left_out_since_code_may_read_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits = (
        {"mine.toml": SUITE},
        {"mine.toml": f"{SUITE}# 2"},
        {"my.py": "1"},
        {"mine.toml": f"{SUITE}# 3"},
        {"mine.toml": f"{SUITE}# 4"},
        {"my.py": "2"},
    )
    shas = [repository.commit(tmp_path / "there", each) for each in edits]
    suite, asked = suites.read(str(tmp_path / "there" / "mine.toml")), dict[str, Any]()

    def not_searched(answer: Bisection, runner: Any, path: Any, margin: float, end_seconds: float) -> Bisection:
        asked.update(path=[commit.sha for commit in path], margin=margin, seconds=end_seconds)
        return answer

    monkeypatch.setattr(module, "answered", not_searched)
    how: Any = {"out": tmp_path / "out", "on_step": lambda words, left: None}
    options = BisectOptions(shas[0], shas[-1], {"batch_size": ["2"]}, None, (), "rnnbench bisect", 600.0)
    folder, answer = module.bisect(suite, options, resume=None, **how)
    assert (answer.good.sha, answer.bad.sha, answer.commits) == (shas[0], shas[-1], 5)
    assert asked == {"path": shas, "margin": 0.04, "seconds": 90.0}
    assert [case.workload.batch_size for case in answer.cases] == [2]
    assert folder.parent == tmp_path / "out"
    with pytest.raises(UserError, match="it holds no bisection; give the folder of an interrupted one"):
        module.bisect(suite, replace(options, bad=shas[2], only={}), resume=tmp_path, **how)
