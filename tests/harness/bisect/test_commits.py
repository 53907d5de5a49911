"""The commits of real histories, what is measured of them, and what of that is kept."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rnnbench.analysis.bisection import CaseChange
from rnnbench.analysis.estimate import Estimate
from rnnbench.errors import UserError
from rnnbench.harness.bisect import commits
from rnnbench.harness.bisect.commits import FILE, BudgetSpent, CommitRunner, Journal, count_changes
from rnnbench.harness.check.own_code import ForeignModules
from rnnbench.harness.check.sides import at_commit
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
    before, merge = (commits.read_commit(tmp_path, merged[name]) for name in ("second", "merge"))
    [branch] = commits.branches(tmp_path, before, merge)
    assert [commit.subject for commit in branch] == ["first", "side one", "side two"]
    assert commits.branches(tmp_path, merge, commits.read_commit(tmp_path, merged["last"])) == []


def test_a_good_commit_on_the_branch_makes_the_merge_the_first_step(tmp_path: Path, merged: dict[str, str]) -> None:
    path = commits.commits_between(tmp_path, merged["side one"], merged["last"])
    assert [commit.subject.partition(":")[0] for commit in path] == ["side one", "merge", "last"]
    [branch] = commits.branches(tmp_path, path[0], path[1])[:1]
    assert [commit.subject for commit in branch][-1] in ("second", "side two")


def test_ends_that_are_not_in_order_are_refused(tmp_path: Path, merged: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"is not an ancestor of bad .*; their last common commit is"):
        commits.commits_between(tmp_path, merged["last"], merged["first"])
    with pytest.raises(UserError, match="are the same commit"):
        commits.commits_between(tmp_path, merged["last"], merged["last"])
    git(tmp_path, "checkout", "--quiet", "--orphan", "other")
    alone = repository.commit(tmp_path, {"c": "1"}, "alone")
    with pytest.raises(UserError, match="they have no common commit"):
        commits.commits_between(tmp_path, alone, merged["last"])


def test_commits_that_change_only_documentation_are_left_out(tmp_path: Path) -> None:
    files = (
        {"a.py": "1"},
        {"README.md": "1"},
        {"docs/conf.json": "1", "bench.toml": "1"},
        {"a.py": "2"},
        {"data.bin": "1"},
    )
    shas = [repository.commit(tmp_path, each) for each in (*files, {"README.md": "2"}, {"README.md": "3"})]
    path = commits.commits_between(tmp_path, shas[0], shas[-1])
    kept = commits.without_documents(tmp_path, path, Path("bench.toml"))
    assert [commit.sha for commit in kept] == [shas[0], shas[3], shas[4], shas[6]]


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

    def __init__(self, folder: Path, seconds: float = 600.0) -> None:
        self.repository = folder / "there"
        cell = {"bench/mine.py": CELL.format(body="pass")}
        bodies = ("time.sleep(0.002)", "h = h + 0", "raise RuntimeError('not today')")
        shas = [repository.commit(self.repository, cell)]
        shas += [repository.commit(self.repository, {"bench/mine.py": CELL.format(body=body)}) for body in bodies]
        (self.repository / "mine.toml").write_text(SUITE)  # not tracked at all
        self.fast, self.sleeps, self.more, self.broken = (commits.read_commit(self.repository, sha) for sha in shas)
        suite = suites.read(str(self.repository / "mine.toml"))
        groups = suite.groups({}, None, most=None)
        self.keys = [case.key for group in groups for case in group.cases]
        self.clock, self.steps = FakeClock(), list[tuple[str, float]]()
        self.journal = Journal(folder, {})
        self.runner = CommitRunner(
            suite,
            groups,
            folder,
            self.journal,
            command="rnnbench bisect",
            sources=(),
            budget_seconds=seconds,
            now=self.clock,
            on_step=lambda words, left: self.steps.append((words, left)),
            on_progress=lambda step: None,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_a_commit_without_the_suite_is_counted_with_the_one_of_today(bench: Bench) -> None:
    fast, more = (bench.runner.counts(commit, bench.keys) for commit in (bench.fast, bench.more))
    assert fast is not None
    assert more is not None
    [change] = count_changes(fast, more).values()
    assert change.does_more
    assert {each.metric.name: each.head - each.base for each in change.changes}["operators"] == 5
    assert count_changes(fast, fast) == {}
    assert bench.runner.counts(bench.broken, bench.keys) is None
    assert "not today" in bench.runner.skipped[bench.broken.short]
    assert [words for words, _ in bench.steps] == [
        f"counting {commit.short}" for commit in (bench.fast, bench.more, bench.broken)
    ]
    assert not (bench.repository / ".git" / "worktrees").exists()


def test_scores_show_what_was_expected_and_are_measured_once(bench: Bench) -> None:
    expected: dict[str, Any] = dict.fromkeys(bench.keys, 2.0)  # of a sleep beside which the rest is nothing
    [score] = bench.runner.scores(bench.fast, bench.sleeps, expected, 1, 0)
    assert score > 0.5
    assert bench.runner.scores(bench.fast, bench.sleeps, expected, 1, 0) == [score]
    assert len(bench.steps) == 1
    assert "timing" in bench.steps[0][0]


def test_what_is_known_costs_no_budget_and_what_is_not_is_refused_after_it(bench: Bench) -> None:
    bench.journal.add(f"counts {bench.fast.sha}", "it does not run", 0.0)
    bench.clock.seconds = 700.0
    assert bench.runner.counts(bench.fast, bench.keys) is None
    with pytest.raises(BudgetSpent):
        bench.runner.counts(bench.more, bench.keys)
    assert bench.steps == []


def test_a_commit_that_runs_the_code_of_another_place_is_skipped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise ForeignModules("mine was imported from elsewhere")

    monkeypatch.setattr(commits, "refuse_foreign", refuse)
    assert bench.runner.counts(bench.fast, bench.keys) is None
    assert bench.runner.skipped == {bench.fast.short: "mine was imported from elsewhere"}


def test_a_commit_with_a_file_in_place_of_the_suites_folder_is_skipped(bench: Bench) -> None:
    folder = bench.repository / "suites"
    sha = repository.commit(bench.repository, {"suites": "a file"})
    folder.unlink()
    folder.mkdir()
    (folder / "mine.toml").write_text(SUITE.replace("bench/mine.py", "../bench/mine.py"))
    with (
        ExitStack() as stack,
        pytest.raises(UserError, match=f"^{sha[:7]}: no suite can be put at suites/mine.toml: "),
    ):
        at_commit(stack, suites.read(str(folder / "mine.toml")), sha, "base")


QUESTION = {"suite": "mine", "good": "a", "bad": "b", "cases": ["x"]}


def test_results_are_there_in_the_next_part(tmp_path: Path) -> None:
    first = Journal(tmp_path, QUESTION)
    first.add("counts a", {"x": {"operators": 1}}, 3.21)
    unknown = CaseChange("undecided", Estimate(1.0, -math.inf, math.inf))
    first.add("compare a b", {"x": unknown.to_json()}, 3.21)
    assert first.results["counts a"] == {"x": {"operators": 1}}
    first.close()
    again = Journal(tmp_path, QUESTION)
    assert again.results["counts a"] == {"x": {"operators": 1}}
    assert again.seconds == 3.2
    assert CaseChange.from_json(again.results["compare a b"]["x"]) == unknown
    again.add("counts b", "it does not run", 5.0)
    again.close()
    assert Journal(tmp_path, QUESTION).results["counts b"] == "it does not run"


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    first = Journal(tmp_path, QUESTION)
    first.add("counts a", 1, 1.0)
    first.add("counts b", 2, 2.0)
    first.close()
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-5])
    again = Journal(tmp_path, QUESTION)
    assert again.results == {"counts a": 1}
    again.add("counts b", 2, 2.0)
    again.close()
    assert (tmp_path / FILE).read_bytes() == whole


def test_another_question_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path, QUESTION).close()
    with pytest.raises(UserError, match=r"it holds another bisection \(good a\); give the same revisions"):
        Journal(tmp_path, QUESTION | {"good": "c"})
    with pytest.raises(UserError, match=r"it holds another bisection \(other cases\)"):
        Journal(tmp_path, QUESTION | {"cases": ["y"]})
    (tmp_path / FILE).write_text('{"unlike": 1}\n')
    with pytest.raises(UserError, match="it holds no bisection"):
        Journal(tmp_path, QUESTION)


def test_one_process_at_a_time_goes_on_with_a_bisection(tmp_path: Path) -> None:
    first = Journal(tmp_path, QUESTION)
    with pytest.raises(UserError, match="another rnnbench is writing to this run"):
        Journal(tmp_path, QUESTION)
    first.close()
    Journal(tmp_path, QUESTION).close()
