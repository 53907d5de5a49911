"""The commits of real histories, what is measured of them, and what of that is kept."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.analysis.bisection import CaseChange, Commit
from rnnbench.analysis.comparison import Change
from rnnbench.analysis.estimate import Estimate
from rnnbench.check import commits
from rnnbench.check.commits import BISECT_FILE, BisectOptions, BudgetSpent, CommitRunner, count_changes
from rnnbench.errors import UserError
from rnnbench.suite import suites
from tests.doubles import repository
from tests.doubles.fakes import FakeClock
from tests.doubles.repository import git


@pytest.fixture
def merged(tmp_path: Path) -> dict[str, str]:
    """first - second - merge - last; the merge brings `side one - side two`, which left at `first`."""
    shas = {"first": repository.commit(tmp_path, {"a": "1"}, "first")}
    git(tmp_path, "checkout", "--quiet", "-b", "side")
    shas |= {name: repository.commit(tmp_path, {"b": name}, name) for name in ("side one", "side two")}
    git(tmp_path, "checkout", "--quiet", "main")
    shas["second"] = repository.commit(tmp_path, {"a": "2"}, "second")
    git(tmp_path, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
    shas["merge"] = git(tmp_path, "rev-parse", "HEAD")
    shas["last"] = repository.commit(tmp_path, {"a": "3"}, "last: é\x1f: it | has")
    return shas


def test_a_path_follows_first_parents_and_holds_both_ends(tmp_path: Path, merged: dict[str, str]) -> None:
    path = commits.commits_between(tmp_path, merged["first"], merged["last"])
    assert [commit.sha for commit in path] == [merged[name] for name in ("first", "second", "merge", "last")]
    assert path[1].subject == "second"
    assert path[2].parents == (merged["second"], merged["side two"])
    assert path[3].date[:2] == "20"
    assert path[3].short == merged["last"][:7]


def test_a_merge_has_the_branch_that_it_brought(tmp_path: Path, merged: dict[str, str]) -> None:
    before, merge = (commits.read_commits(tmp_path, "--no-walk", merged[name])[0] for name in ("second", "merge"))
    [branch] = commits.branches(tmp_path, before, merge)
    assert [commit.subject for commit in branch] == ["first", "side one", "side two"]
    assert commits.branches(tmp_path, merge, commits.read_commits(tmp_path, "--no-walk", merged["last"])[0]) == []


def test_a_good_commit_on_the_branch_makes_the_merge_the_first_step(tmp_path: Path, merged: dict[str, str]) -> None:
    path = commits.commits_between(tmp_path, merged["side one"], merged["last"])
    assert [commit.subject.partition(":")[0] for commit in path] == ["side one", "merge", "last"]
    [branch] = commits.branches(tmp_path, path[0], path[1])[:1]
    assert [commit.subject for commit in branch][-1] in ("second", "side two")


def test_ends_that_are_not_in_order_are_refused(tmp_path: Path, merged: dict[str, str]) -> None:
    with pytest.raises(UserError, match="is not an ancestor of bad"):
        commits.commits_between(tmp_path, merged["last"], merged["first"])
    with pytest.raises(UserError, match="are the same commit"):
        commits.commits_between(tmp_path, merged["last"], merged["last"])


SUITE = """
name = "mine"
[measure]
windows = 2
window_seconds = 0.002
[[sweep]]
cell = ["bench/mine.py:Mine"]
reference = "none"
batch_size = 2
seq_len = 5
hidden_size = 8
"""
CELL = """
import time
from torch import nn
class Mine(nn.GRUCell):
    def forward(self, input, h):
        {body}
        return super().forward(input, h)
"""


class Bench:
    """A repository whose first commit has no suite yet."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "there"
        cell = {"bench/mine.py": CELL.format(body="pass")}
        bodies = ("h = h + 0", "raise RuntimeError('not today')")
        shas = [repository.commit(self.repository, cell)]
        shas += [repository.commit(self.repository, {"bench/mine.py": CELL.format(body=body)}) for body in bodies]
        (self.repository / "mine.toml").write_text(SUITE)  # not tracked at all
        self.fast, self.more, self.broken = (Commit(sha) for sha in shas)
        self.suite = suites.read(str(self.repository / "mine.toml"))
        self.groups = self.suite.groups({}, None)
        self.keys = [case.key for group in self.groups for case in group.cases]
        self.clock, self.steps = FakeClock(), list[tuple[str, float]]()
        self.folder = folder / "found"
        self.folder.mkdir()

    def runner(self, **question: Any) -> closing[CommitRunner]:
        """Return what goes on with the folder."""
        options = BisectOptions("a", "b", {}, None, (), "rnnbench bisect", 600.0)
        places = self.repository, self.folder, replace(options, **question)
        return closing(
            CommitRunner(self.suite, self.groups, *places, lambda *step: self.steps.append(step), self.clock)
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_commit_without_the_suite_is_counted_with_the_one_of_today(bench: Bench) -> None:
    with bench.runner() as runner:
        fast, more = (runner.counts(commit, bench.keys) for commit in (bench.fast, bench.more))
        assert fast is not None
        assert more is not None
        [change] = count_changes(fast, more).values()
        assert change.does_more
        assert {each.metric: each.head - each.base for each in change.changes}["operators"] == 5
        assert count_changes(fast, fast) == {}
        assert runner.counts(bench.broken, bench.keys) is None
        assert "not today" in runner.skipped[bench.broken.short]
    assert [words for words, _ in bench.steps] == [
        f"counting {commit.short}" for commit in (bench.fast, bench.more, bench.broken)
    ]
    assert not (bench.repository / ".git" / "worktrees").exists()


def kept(runner: CommitRunner, measured: str, result: Any) -> Any:
    return runner._kept_result(measured, measured, lambda: result)


def test_what_is_known_costs_no_budget_and_what_is_not_is_refused_after_it(bench: Bench) -> None:
    with bench.runner() as runner:
        kept(runner, f"counts {bench.fast.sha}", "it does not run")
        bench.clock.seconds = 700.0
        assert runner.counts(bench.fast, bench.keys) is None
        with pytest.raises(BudgetSpent):
            runner.counts(bench.more, bench.keys)


def test_results_are_there_in_the_next_part_but_for_a_line_that_was_cut_off(bench: Bench) -> None:
    unknown = CaseChange("undecided", Estimate(1.0, 0.5, 2.0), (Change("operators", 10, 12),), "why")
    with bench.runner() as runner:
        bench.clock.seconds = 3.21
        kept(runner, "compare 1 a b", {"x": unknown.to_json()})
        kept(runner, "counts a", 1)
    file = bench.folder / BISECT_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with bench.runner() as again:
        assert again.seconds == 3.2
        [known] = again._results.values()
        assert CaseChange.from_json(known["x"]) == unknown
        assert kept(again, "counts a", 1) == 1
    assert file.read_bytes() == whole


def test_a_search_that_was_interrupted_twice_before_its_first_result_goes_on(bench: Bench) -> None:
    for _ in range(3):
        with bench.runner() as runner:
            assert runner._results == {}


def test_another_question_and_another_writer_are_refused(bench: Bench) -> None:
    with bench.runner(), pytest.raises(UserError, match="another rnnbench is writing to this run"), bench.runner():
        pass
    with pytest.raises(UserError, match="it holds another bisection; give the same"), bench.runner(bad="y"):
        pass
