"""The search on histories whose truth is known; the measuring is simulated."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench.analysis.bisection import CaseChange, Commit
from rnnbench.analysis.estimate import Estimate
from rnnbench.harness.bisect import search as module
from rnnbench.harness.bisect.commits import BudgetSpent, score
from rnnbench.harness.bisect.search import Search, cases_to_search
from rnnbench.store.records import Case
from rnnbench.suite.file import CheckSettings
from tests.doubles import workload as small
from tests.validation.bisect_simulated import MARGIN, SimulatedCommitRunner
from tests.validation.noise import NOISES, MadeUp

QUIET = MadeUp(0.002, 0.0, shared=0.0, spoilt=0.0, spoilt_mean=0.0)
CASES = [small.case("vanilla", batch_size=size) for size in (1, 2)]
KEYS = [case.key for case in CASES]


def searched(
    slow: dict[int, float],
    operators: dict[int, int] | None = None,
    broken: tuple[int, ...] = (),
    count: int = 20,
    noise: Any = QUIET,
    parents: dict[int, tuple[str, ...]] | None = None,
) -> tuple[Search, Any]:
    """A search that has ended; `slow`: place -> slowdown, `operators`: place -> what it adds."""
    levels, calls = np.zeros(count + 1), np.full(count + 1, 100)
    for place, size in slow.items():
        levels[place:] += np.log1p(size)
    for place, more in (operators or {}).items():
        calls[place:] += more
    runs = [place not in broken for place in range(count + 1)]
    runner: Any = SimulatedCommitRunner(np.random.default_rng(1), levels, calls.tolist(), runs, CASES, noise)
    path = [Commit(str(place), parents=(parents or {}).get(place, (str(place - 1),))) for place in range(count + 1)]
    total = runner.compare(path[0], path[-1], KEYS, MARGIN)
    chosen = cases_to_search(total, {case.key: case for case in CASES})
    search = Search(runner, Path(), path, total, chosen, {case.key: case.cell for case in CASES}, MARGIN)
    search.run()
    return search, runner


def named(search: Search) -> list[str]:
    return [cause.commit.sha for cause in search.causes if cause.is_confirmed]


def test_a_commit_whose_counts_grow_is_named_and_confirmed_by_time() -> None:
    search, runner = searched({7: 0.05}, {7: 16})
    assert named(search) == ["7"]
    [cause] = search.causes
    assert (cause.parent.sha, cause.witness, cause.untested) == ("6", "counts", ())
    assert set(cause.cases) == set(KEYS)
    assert len(runner._counted) <= 8
    assert not search.unexplained


def test_a_commit_that_only_the_time_shows_is_named() -> None:
    search, _ = searched({7: 0.05})
    assert named(search) == ["7"]
    assert search.causes[0].witness == "time"


def test_two_causes_are_told_apart_whichever_witness_sees_them() -> None:
    assert named(searched({5: 0.05, 12: 0.04}, {5: 16, 12: 16})[0]) == ["5", "12"]
    assert sorted(named(searched({5: 0.05, 12: 0.05})[0]), key=int) == ["5", "12"]
    by_both = searched({5: 0.05, 12: 0.05}, {12: 16})[0]
    assert {cause.commit.sha: cause.witness for cause in by_both.causes} == {"5": "time", "12": "counts"}


def test_counts_that_grow_without_a_slower_time_are_no_cause() -> None:
    search, _ = searched({5: 0.06}, {5: 16, 12: 1})
    assert named(search) == ["5"]


def test_commits_that_do_not_run_are_skipped_and_told_where_they_may_be_the_cause() -> None:
    search, runner = searched({7: 0.05}, {7: 16}, broken=(5, 6, 10))
    [cause] = search.causes
    assert (cause.parent.sha, cause.commit.sha) == ("4", "7")
    assert [commit.sha for commit in cause.untested] == ["5", "6"]
    assert {"5", "6"} <= set(runner.skipped)
    by_time, _ = searched({7: 0.05}, broken=(7, 8))
    [cause] = by_time.causes
    assert (cause.parent.sha, cause.commit.sha) == ("6", "9")
    assert [commit.sha for commit in cause.untested] == ["7", "8"]


def test_a_gain_is_not_named() -> None:
    search, _ = searched({4: -0.05, 9: 0.15}, {4: -10, 9: 32})
    assert named(search) == ["9"]


@pytest.mark.parametrize("noise", ["heavy tails", "pairs of unlike noise", "half shared by a pair"])
def test_in_noise_the_search_goes_on_after_a_wrong_turn(noise: str) -> None:
    assert named(searched({13: 0.06}, noise=NOISES[noise])[0]) == ["13"]


def test_what_is_known_when_the_budget_ends_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    search, runner = searched({7: 0.05, 12: 0.05}, {7: 16, 12: 16})
    again = Search(runner, Path(), search.path, search.total, KEYS, search.cells, MARGIN)
    compare, done = runner.compare, iter([True])

    def once(*arguments: Any) -> Any:
        if next(done, False):
            return compare(*arguments)
        raise BudgetSpent

    monkeypatch.setattr(runner, "compare", once)
    with pytest.raises(BudgetSpent):
        again.run()
    assert [(cause.commit.sha, cause.is_confirmed) for cause in again.causes] == [("7", True), ("12", False)]


BRANCH = [Commit("5"), *(Commit(str(place), parents=(str(place - 1),)) for place in (21, 22, 23))]


def merged(
    monkeypatch: pytest.MonkeyPatch, brought: list[list[Commit]], *, seen: bool, ends: tuple[int, int] = (0, 20)
) -> tuple[Search, Any]:
    """A search on a path with the merge 7, whose branch is played by the places 21, 22 (which is slow) and 23."""
    levels, calls = np.zeros(25), np.full(25, 100)
    levels[7:21] = levels[22:24] = np.log1p(0.06)
    calls[7:21] = calls[22:24] = 116 if seen else 100
    runner: Any = SimulatedCommitRunner(np.random.default_rng(1), levels, calls.tolist(), [True] * 25, CASES, QUIET)
    path = [Commit(str(place), parents=("6", "23") if place == 7 else (str(place - 1),)) for place in range(21)]
    path = path[ends[0] : ends[1] + 1]
    monkeypatch.setattr(module, "branches", lambda *_: brought)
    total = runner.compare(path[0], path[-1], KEYS, MARGIN)
    return Search(runner, Path(), path, total, KEYS, dict.fromkeys(KEYS, "vanilla"), MARGIN), runner


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
    search, _ = merged(monkeypatch, brought, seen=seen, ends=ends)
    search.run()
    assert [(each.commit.sha, each.merged_by.sha if each.merged_by else None) for each in search.causes] == expected
    assert all(cause.is_confirmed for cause in search.causes)


def test_a_merge_that_was_confirmed_stays_when_the_budget_ends_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    search, runner = merged(monkeypatch, [BRANCH], seen=False)
    compare = runner.compare

    def spent_at_the_tip(base: Commit, head: Commit, *more: Any) -> Any:
        if head.sha == "23":
            raise BudgetSpent
        return compare(base, head, *more)

    monkeypatch.setattr(runner, "compare", spent_at_the_tip)
    with pytest.raises(BudgetSpent):
        search.run()
    assert [(cause.commit.sha, cause.is_confirmed) for cause in search.causes] == [("7", True)]


def test_the_clearest_cases_of_each_cell_are_searched_for() -> None:
    cases = [small.case(cell, batch_size=size) for cell in ("vanilla", "gru") for size in (1, 2, 3, 4)]
    total = {
        case.key: CaseChange("regressed", Estimate(1.1, 1 + 0.01 * case.workload.batch_size, 1.2)) for case in cases
    }
    by_key: dict[str, Case] = {case.key: case for case in cases}
    assert [(by_key[key].cell, by_key[key].workload.batch_size) for key in cases_to_search(total, by_key)] == [
        ("vanilla", 4),
        ("gru", 4),
        ("vanilla", 3),
        ("gru", 3),
    ]
    assert (
        cases_to_search({case.key: CaseChange("unchanged", Estimate(1.0, 0.99, 1.01)) for case in cases}, by_key) == []
    )


def test_a_score_is_the_share_of_what_was_expected() -> None:
    expected = {"a": 0.05, "b": 0.10}
    assert score({"a": [0.05, 0.0], "b": [0.10, 0.0]}, expected) == pytest.approx([1.0, 0.0])
    assert score({"a": [0.025], "b": [0.05]}, expected) == pytest.approx([0.5])
    assert score({"a": [], "b": [0.1, 0.1]}, expected) == pytest.approx([1.0, 1.0])
    assert score({}, expected) == []


def test_the_margin_of_a_huge_slowdown_is_one_that_a_suite_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    margins, compare = list[float](), SimulatedCommitRunner.compare

    def watched(runner: Any, base: Commit, head: Commit, keys: Any, margin: float, *more: Any) -> Any:
        margins.append(margin)
        return compare(runner, base, head, keys, margin, *more)

    monkeypatch.setattr(SimulatedCommitRunner, "compare", watched)
    assert named(searched({7: 30.0}, {7: 16})[0]) == ["7"]
    assert all(CheckSettings.model_validate({"margin": margin}) for margin in margins)
