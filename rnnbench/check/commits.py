"""Commits and what is measured of them: which ones lie between two, their counts, and the time of two of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnbench.analysis.bisection import CaseChange, Commit
from rnnbench.analysis.comparison import WORK
from rnnbench.check.live import CheckOptions, check
from rnnbench.check.own_code import refuse_foreign
from rnnbench.check.paired import start_worker
from rnnbench.check.sides import Project
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import Asker, WorkerStart, ready
from rnnbench.harness.machine import git
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Building
from rnnbench.store.records import Group, Measurement
from rnnbench.suite.outline import cases_of, with_cases
from rnnbench.suite.suites import Suite
from rnnbench.text import plural

COMMIT_FORMAT = "%H%x1f%P%x1f%aI%x1f%s"  # separated by a character that no subject holds
Counts = Mapping[str, Mapping[str, Any]]  # case's key -> its metrics
LAYOUT = 0  # of workers that only count


@dataclass(frozen=True)
class BisectOptions:
    """What a bisection searches, and what it may take."""

    good: str  # a revision, as is `bad`
    bad: str
    only: Mapping[str, Sequence[str]]  # values of axes, by their names
    device: str | None
    sources: Sequence[str]  # folders of the repository that modules are imported from, beside the project's
    command: str  # as it was typed, for the records
    budget_seconds: float


class BudgetSpent(Exception):
    """No time is left to measure anything more."""


def read_commits(repository: Path, *arguments: str) -> list[Commit]:
    """Return the commits that `git log` lists; raises UserError if it can't."""
    lines = (line.split("\x1f", 3) for line in git.log(repository, COMMIT_FORMAT, *arguments))
    return [Commit(sha, subject, date, tuple(parents.split())) for sha, parents, date, subject in lines]


def commits_between(repository: Path, good: str, bad: str) -> list[Commit]:
    """Return the commits from good to bad, both included, along first parents: a merged branch is one step.

    Where `good` lies on a branch that was merged later, the first step is that merge. Raises UserError if `good` is not
    an ancestor of `bad`, or the same commit.
    """
    if good == bad:
        raise UserError(f"good and bad are the same commit, {good[:7]}; there is nothing between them")
    if git.merge_base(repository, good, bad) != good:
        raise UserError(f"good {good[:7]} is not an ancestor of bad {bad[:7]}; give an older good")
    after_good = {commit.sha for commit in read_commits(repository, "--ancestry-path", f"{good}..{bad}")}
    steps = read_commits(repository, "--first-parent", "--reverse", f"{good}..{bad}")
    return read_commits(repository, "--no-walk", good) + [commit for commit in steps if commit.sha in after_good]


class CommitRunner:
    """Counts and times commits, within a budget."""

    def __init__(
        self,
        suite: Suite,
        groups: Sequence[Group],
        folder: Path,
        options: BisectOptions,
        on_step: Callable[[str, float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin the budget now.

        `folder`: that of the bisection, which gets those of its checks; `on_step` gets what is measured next, in words,
        and the seconds that are left of the budget.
        """
        self.budget_seconds = options.budget_seconds
        self.skipped: dict[str, str] = {}  # short number of a commit -> why it does not run
        self._suite = suite
        self._groups = groups
        self._folder = folder
        self._options = options
        self._on_step = on_step
        self._now = now
        self._began = now()
        self._counted: dict[str, Counts] = {}  # by commit; empty for one that does not run

    @property
    def seconds(self) -> float:
        """Seconds that the bisection has taken."""
        return self._now() - self._began

    def counts(self, commit: Commit, keys: Sequence[str]) -> Counts | None:
        """Return the metrics of these cases of a commit, the same ones each time.

        None if the commit does not run, which `skipped` then explains. Raises BudgetSpent if it was not counted yet.
        """
        if commit.sha not in self._counted:
            self._begin(f"counting {commit.short}")
            counted = self._count(commit, keys)
            if isinstance(counted, str):
                self.skipped[commit.short] = counted
                counted = {}
            self._counted[commit.sha] = counted
        return self._counted[commit.sha] or None

    def compare(
        self, base: Commit, head: Commit, keys: Sequence[str], margin: float, share: float, most: float
    ) -> dict[str, CaseChange]:
        """Compare these cases of two commits in time, as `rnnbench check` does; returns the change of each.

        `margin`: how much slower counts as slower; `share`: of the error rate; `most`: seconds. Raises BudgetSpent.
        """
        self._begin(f"comparing {head.short} with {base.short}: {plural(len(keys), 'case')}")
        seconds = min(most, self.budget_seconds - self.seconds)
        suite = self._suite.with_check(margin=margin, budget_seconds=seconds)
        with ExitStack() as stack:
            project = Project(stack, suite, self._options.sources)
            _, comparison = check(
                project.at_commit(base.sha, "base"),
                project.at_commit(head.sha, "head"),
                with_cases(self._groups, lambda case: case.key in keys),
                out=self._folder,
                on_progress=lambda step: None,
                options=CheckOptions(share=share, command=self._options.command),
            )
        if seconds < most and comparison.count("undecided"):
            raise BudgetSpent
        return {
            each.case.key: CaseChange(each.time_verdict, each.deciding, each.changes, each.reason)
            for each in comparison.findings
        }

    def _begin(self, words: str) -> None:
        seconds_left = self.budget_seconds - self.seconds
        if seconds_left <= 0:
            raise BudgetSpent
        self._on_step(words, seconds_left)

    def _count(self, commit: Commit, keys: Sequence[str]) -> dict[str, dict[str, Any]] | str:
        settings = self._suite.measure
        with ExitStack() as stack:
            try:
                side = Project(stack, self._suite, self._options.sources).at_commit(commit.sha, "base")
                start = partial(start_worker, "observer", side, WorkerStart(layout=LAYOUT))
                asker = Asker(settings, start, ready(start)[0])
                stack.callback(asker.close)
                counted = dict[str, dict[str, Any]]()
                imported = dict[str, str]()
                for case in cases_of(with_cases(self._groups, lambda case: case.key in keys)):
                    reply = asker.ask(
                        Building(str(side.root), settings.compiled_steps).request("observe", case), allowed_cores()
                    )
                    imported |= reply.get("imported", {})
                    if not reply["ok"]:
                        return side.in_words(reply["reason"])
                    metrics = Measurement.from_json(reply["measurement"]).metrics
                    counted[case.key] = {name: metrics[name] for name in WORK if name in metrics}
                refuse_foreign(side, side, {side.name: imported}, {})
            except (UserError, OSError) as error:  # OSError: the commit has a file in place of the suite's folder
                return str(error)
            return counted


def growth(base: Mapping[str, Any], head: Mapping[str, Any]) -> float:
    """Return how much the counts of a case's work grew, each as a share of what it was; those that shrank count 0."""
    both = [name for name in WORK if name in base and name in head]
    return float(sum(max(0, head[name] - base[name]) / max(1, base[name]) for name in both))
