"""Commits and what is measured of them: which ones lie between two, their counts, and the time of two of them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnbench.analysis.bisection import CaseChange, Commit
from rnnbench.analysis.comparison import WORK
from rnnbench.analysis.decide import changes
from rnnbench.check.live import CheckOptions, check
from rnnbench.check.own_code import refuse_foreign
from rnnbench.check.paired import start_worker
from rnnbench.check.sides import Project
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import Asker, WorkerStart, ready
from rnnbench.harness.machine import git
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Building
from rnnbench.store.folder import lock
from rnnbench.store.records import Group, Measurement
from rnnbench.store.stored_record import append_lines, read_lines
from rnnbench.suite.outline import cases_of, with_cases
from rnnbench.suite.suites import Suite
from rnnbench.text import plural

COMMIT_FORMAT = "%H%x1f%P%x1f%aI%x1f%s"  # separated by a character that no subject holds
BISECT_FILE = "bisect.jsonl"
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


def branches(repository: Path, before: Commit, merge: Commit) -> list[list[Commit]]:
    """Return the commits that a merge brought beside `before`: for each other parent, from their last common one on."""
    common = {parent: git.merge_base(repository, before.sha, parent) for parent in merge.parents}
    return [
        commits_between(repository, start, parent) for parent, start in common.items() if start not in (parent, None)
    ]


class CommitRunner:
    """Counts and times commits. Results are kept line by line, so that an interrupted bisection can go on."""

    def __init__(
        self,
        suite: Suite,
        groups: Sequence[Group],
        repository: Path,
        folder: Path,
        options: BisectOptions,
        on_step: Callable[[str, float], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read what earlier parts measured in the folder.

        `on_step` gets what is measured next, in words, and the seconds that are left of the budget. Raises UserError if
        the folder holds the bisection of another question, or if another process writes to it.
        """
        self.repository = repository
        self.budget_seconds = options.budget_seconds
        self.skipped: dict[str, str] = {}  # short number of a commit -> why it does not run
        self._suite = suite
        self._groups = groups
        self._folder = folder
        self._file = folder / BISECT_FILE
        self._command = options.command
        self._sources = options.sources
        self._on_step = on_step
        self._now = now
        self._compared = 0
        self._lock = lock(self._file)  # two searches at once would disturb each other
        cases = [case.key for case in cases_of(groups)]
        question = {"suite": suite.name, "good": options.good, "bad": options.bad, "cases": cases}
        lines = [*read_lines(self._file)]
        if not lines:
            lines = [{"question": question}]
            append_lines(self._file, lines)
        if lines[0].get("question") != question:
            raise UserError(f"{folder}: it holds another bisection; give the same revisions and options")
        self._results = {line["measured"]: line["result"] for line in lines[1:]}
        self._began: float = now() - lines[-1].get("seconds", 0.0)

    def close(self) -> None:
        """Let others go on with the folder."""
        os.close(self._lock)

    @property
    def seconds(self) -> float:
        """Seconds that the bisection has taken, all its parts together."""
        return self._now() - self._began

    def counts(self, commit: Commit, keys: Sequence[str]) -> Counts | None:
        """Return the metrics of these cases of a commit; None if it does not run, which `skipped` then explains."""
        counted = self._kept_result(
            f"counts {commit.sha}", f"counting {commit.short}", partial(self._count, commit, keys)
        )
        if isinstance(counted, str):
            self.skipped[commit.short] = counted
            return None
        return dict(counted)

    def compare(
        self, base: Commit, head: Commit, keys: Sequence[str], margin: float, share: float, most: float
    ) -> dict[str, CaseChange]:
        """Compare these cases of two commits in time, as `rnnbench check` does; returns the change of each.

        `margin`: how much slower counts as slower; `share`: of the error rate; `most`: seconds.
        """
        self._compared += 1  # the same two may be asked for again: a search that goes on asks in the same order
        words = f"comparing {head.short} with {base.short}: {plural(len(keys), 'case')}"
        measured = f"compare {self._compared} {base.sha} {head.sha}"
        result = self._kept_result(measured, words, partial(self._compare, base, head, keys, margin, share, most))
        return {key: CaseChange.from_json(line) for key, line in result.items()}

    def _kept_result(self, measured: str, words: str, measure: Callable[[], Any]) -> Any:
        if measured not in self._results:
            seconds_left = self.budget_seconds - self.seconds
            if seconds_left <= 0:
                raise BudgetSpent
            self._on_step(words, seconds_left)
            self._results[measured] = result = measure()
            append_lines(self._file, [{"measured": measured, "seconds": round(self.seconds, 1), "result": result}])
        return self._results[measured]

    def _count(self, commit: Commit, keys: Sequence[str]) -> dict[str, dict[str, Any]] | str:
        settings = self._suite.measure
        with ExitStack() as stack:
            try:
                side = Project(stack, self._suite, self._sources).at_commit(commit.sha, "base")
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

    def _compare(
        self, base: Commit, head: Commit, keys: Sequence[str], margin: float, share: float, most: float
    ) -> dict[str, Any]:
        seconds = min(most, self.budget_seconds - self.seconds)
        suite = self._suite.with_check(margin=margin, budget_seconds=seconds)
        with ExitStack() as stack:
            project = Project(stack, suite, self._sources)
            _, comparison = check(
                project.at_commit(base.sha, "base"),
                project.at_commit(head.sha, "head"),
                with_cases(self._groups, lambda case: case.key in keys),
                out=self._folder,
                on_progress=lambda step: None,
                options=CheckOptions(share=share, command=self._command),
            )
        if seconds < most and comparison.count("undecided"):
            raise BudgetSpent  # so that a later part compares them anew
        return {
            each.case.key: CaseChange(each.time_verdict, each.deciding, each.changes, each.reason).to_json()
            for each in comparison.findings
        }


def count_changes(base: Counts, head: Counts) -> dict[str, CaseChange]:
    """Return the cases whose counts differ, with the changes."""
    both = ((key, changes(base[key], head[key])) for key in base if key in head)
    return {key: CaseChange(None, None, different) for key, different in both if different}
