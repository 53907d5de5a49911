"""The commits of real histories, what is measured of them, and what of that is kept."""

from pathlib import Path

import pytest

from rnnbench.analysis.bisection import Commit
from rnnbench.check import commits
from rnnbench.check.commits import BisectOptions, BudgetSpent, CommitRunner, growth
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


def test_a_good_commit_on_the_branch_makes_the_merge_the_first_step(tmp_path: Path, merged: dict[str, str]) -> None:
    path = commits.commits_between(tmp_path, merged["side one"], merged["last"])
    assert [commit.subject.partition(":")[0] for commit in path] == ["side one", "merge", "last"]


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
        self.suite = suites.read_suite(str(self.repository / "mine.toml"))
        self.groups = self.suite.groups({}, None)
        self.keys = [case.key for group in self.groups for case in group.cases]
        self.clock, self.steps = FakeClock(), list[tuple[str, float]]()
        self.folder = folder / "found"
        self.folder.mkdir()

    def runner(self) -> CommitRunner:
        options = BisectOptions("a", "b", {}, None, (), "rnnbench bisect", 600.0)
        return CommitRunner(
            self.suite, self.groups, self.folder, options, lambda *step: self.steps.append(step), self.clock
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_commit_without_the_suite_is_counted_with_the_one_of_today(bench: Bench) -> None:
    runner = bench.runner()
    fast, more = (runner.counts(commit, bench.keys) for commit in (bench.fast, bench.more))
    assert fast is not None
    assert more is not None
    [key] = bench.keys
    assert growth(fast[key], more[key]) > 0
    assert growth(more[key], fast[key]) == 0
    assert more[key]["operators"] - fast[key]["operators"] == 5
    assert runner.counts(bench.broken, bench.keys) is None
    assert "not today" in runner.skipped[bench.broken.short]
    assert [words for words, _ in bench.steps] == [
        f"counting {commit.short}" for commit in (bench.fast, bench.more, bench.broken)
    ]
    assert not (bench.repository / ".git" / "worktrees").exists()
    bench.clock.seconds = 700.0
    assert runner.counts(bench.fast, bench.keys) == fast, "what is known costs no budget"
    with pytest.raises(BudgetSpent):
        runner.compare(bench.fast, bench.more, bench.keys, 0.1, 1.0, 30.0)
