"""Measuring real commits: each test starts few workers."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rnnbench import suites
from rnnbench.analysis.bisection import Commit
from rnnbench.errors import UserError
from rnnbench.harness.bisect import commit_runner, history
from rnnbench.harness.bisect.commit_runner import BudgetSpent, CommitRunner, count_changes
from rnnbench.harness.bisect.journal import Journal
from rnnbench.harness.check.own_code import ForeignModules
from rnnbench.harness.check.sides import at_commit
from tests.doubles import repository
from tests.doubles.fakes import FakeClock

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
        self.fast, self.sleeps, self.more, self.broken = (history.read_commit(self.repository, sha) for sha in shas)
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


def test_a_link_out_of_the_worktree_is_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.toml").write_text("precious")
    folder = tmp_path / "there"
    repository.commit(folder, {"README": "x"})
    (folder / "link").symlink_to(outside)
    repository.commit(folder, {"README": "y"})
    sha = repository.git(folder, "rev-parse", "HEAD")
    (folder / "link").unlink()
    (folder / "link").mkdir()
    (folder / "link" / "mine.toml").write_text(SUITE.replace("bench/mine.py:Mine", "gru"))
    suite = suites.read(str(folder / "link" / "mine.toml"))
    journal = Journal(tmp_path, {})
    runner = CommitRunner(
        suite,
        suite.groups({}, None, most=None),
        tmp_path,
        journal,
        command="",
        sources=(),
        budget_seconds=60.0,
        now=FakeClock(),
        on_step=lambda words, left: None,
        on_progress=lambda step: None,
    )
    assert runner.counts(Commit(sha), []) is None
    assert "is a link out of the repository" in runner.skipped[sha[:7]]
    journal.close()
    assert (outside / "mine.toml").read_text() == "precious"
    with pytest.raises(UserError, match="no case is selected"):
        suite.groups({"cell": ["gru"], "phase": ["inference"], "implementation": []}, None, most=None)


def test_a_commit_that_runs_the_code_of_another_place_is_skipped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise ForeignModules("mine was imported from elsewhere")

    monkeypatch.setattr(commit_runner, "refuse_foreign", refuse)
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
