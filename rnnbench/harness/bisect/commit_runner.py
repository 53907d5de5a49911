"""Measure commits for a bisection: count what a commit's calls do, and compare the time of two commits."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnbench.analysis.bisection import WORK, CaseChange, Commit
from rnnbench.analysis.changes import changes
from rnnbench.errors import UserError
from rnnbench.groups import cases_of, with_cases
from rnnbench.harness.bisect.journal import Journal
from rnnbench.harness.check.check import check, observed
from rnnbench.harness.check.own_code import ForeignModules, refuse_foreign
from rnnbench.harness.check.pairs import start_worker
from rnnbench.harness.check.selection import Selection
from rnnbench.harness.check.sides import at_commit
from rnnbench.harness.coordinator.asking import Asker, hello
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import dated_folder
from rnnbench.store.records import Group, Measurement
from rnnbench.suites import Suite
from rnnbench.text import plural

Counts = Mapping[str, Mapping[str, Any]]  # case's key -> its metrics
LAYOUT = 0  # of workers that only count
MAX_COMPARE_SECONDS = 120.0


class BudgetSpent(Exception):
    """No time is left to measure anything more."""


@dataclass(frozen=True)
class CompareOptions:
    """How two commits are compared in time."""

    purpose: str  # tells apart comparisons of the same commits
    margin: float  # how much slower counts as slower
    share: float  # of the error rate
    seconds: float = MAX_COMPARE_SECONDS


class CommitRunner:
    """Counts and times commits. Results are kept in the journal, so that nothing is measured twice."""

    def __init__(
        self,
        suite: Suite,
        groups: Sequence[Group],
        folder: Path,
        journal: Journal,
        *,
        command: str,
        sources: Sequence[str],
        budget_seconds: float,
        now: Callable[[], float],
        on_step: Callable[[str, float], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        """`on_step` gets what is measured next, in words, and the seconds that are left of the budget."""
        self._suite = suite
        self._groups = groups
        self._folder = folder
        self._journal = journal
        self._command = command
        self._sources = sources
        self._budget_seconds = budget_seconds
        self._now = now
        self._began = now() - journal.seconds
        self._on_step = on_step
        self._on_progress = on_progress
        self.skipped: dict[str, str] = {}  # short number of a commit -> why it does not run

    @property
    def seconds(self) -> float:
        """Seconds that the bisection has taken, all its parts together."""
        return self._now() - self._began

    def counts(self, commit: Commit, keys: Sequence[str]) -> Counts | None:
        """The metrics of these cases of a commit; None if it does not run, which `skipped` then explains."""
        counted = self._kept(f"counts {commit.sha}", f"counting {commit.short}", lambda: self._count(commit, keys))
        if isinstance(counted, str):
            self.skipped[commit.short] = counted
            return None
        return dict(counted)

    def compare(
        self, base: Commit, head: Commit, keys: Sequence[str], options: CompareOptions
    ) -> dict[str, CaseChange]:
        """Compare these cases of two commits in time, as `rnnbench check` does; returns the change of each."""
        words = f"comparing {head.short} with {base.short}: {plural(len(keys), 'case')}"
        kept = self._kept(
            f"compare {base.sha} {head.sha} {options.purpose}",
            words,
            lambda: self._compare(base, head, keys, options),
        )
        return {key: CaseChange.from_json(line) for key, line in kept.items()}

    def scores(
        self, base: Commit, head: Commit, expected: Mapping[str, float], pairs: int, attempt: int
    ) -> list[float]:
        """Time a commit against the base, with so many pairs of workers; returns a score for each pair.

        A score is 1 if the commit is slower by as much as `expected` (the logarithm for each case), and 0 if it is not
        slower. `attempt`: the number of this measurement, if the commit is timed several times.
        """
        words = f"timing {head.short} against {base.short}: {pairs} pairs"
        measured = f"scores {base.sha} {head.sha} {' '.join(sorted(expected))} {attempt}"
        return list(self._kept(measured, words, lambda: self._score(base, head, expected, pairs)))

    def _kept(self, measured: str, words: str, measure: Callable[[], Any]) -> Any:
        if measured not in self._journal:
            left = self._budget_seconds - self.seconds
            if left <= 0:
                raise BudgetSpent
            self._on_step(words, left)
            self._journal.add(measured, measure(), self.seconds)
        return self._journal[measured]

    def _count(self, commit: Commit, keys: Sequence[str]) -> dict[str, dict[str, Any]] | str:
        settings = self._suite.settings
        with ExitStack() as stack:
            try:
                side = at_commit(stack, self._suite, commit.sha, "base", self._sources)
                worker = start_worker("observer", side, LAYOUT)
                asker = Asker(settings, partial(start_worker, "observer", side, LAYOUT), worker)
                stack.callback(asker.close)
                hello(worker)
            except UserError as error:
                return str(error)
            building = Building(str(side.root), settings.compiled_steps)
            counted: dict[str, dict[str, Any]] = {}
            imported: dict[str, str] = {}
            for case in cases_of(self._only(keys)):
                reply = asker.ask(building.observe(case), allowed_cores())
                imported |= reply.get("imported", {})
                if not reply["ok"]:
                    return side.in_words(reply["reason"])
                metrics = Measurement.from_json(reply["measurement"]).metrics
                counted[case.key] = {name: metrics[name] for name in WORK if name in metrics}
            try:
                refuse_foreign(side, side, {side.name: imported})
            except ForeignModules as error:
                return str(error)
            return counted

    def _compare(self, base: Commit, head: Commit, keys: Sequence[str], options: CompareOptions) -> dict[str, Any]:
        left = self._budget_seconds - self.seconds
        seconds = min(options.seconds, left)
        suite = self._suite.with_check(margin=options.margin, budget_seconds=seconds)
        with ExitStack() as stack:
            first, second = (
                at_commit(stack, suite, commit.sha, name, self._sources)
                for commit, name in ((base, "base"), (head, "head"))
            )
            selection = Selection(self._only(keys), [], [])
            _, comparison = check(
                first,
                second,
                selection,
                out=self._folder,
                command=self._command,
                on_progress=self._on_progress,
                share=options.share,
            )
        if seconds < options.seconds and comparison.count("undecided"):
            raise BudgetSpent  # so that a later part compares them anew
        return {finding.case.key: CaseChange.of(finding).to_json() for finding in comparison.findings}

    def _score(self, base: Commit, head: Commit, expected: Mapping[str, float], pairs: int) -> list[float]:
        with ExitStack() as stack:
            first, second = (
                at_commit(stack, self._suite, commit.sha, name, self._sources)
                for commit, name in ((base, "base"), (head, "head"))
            )
            groups = self._only(list(expected))
            with observed(
                first,
                second,
                groups,
                lambda: dated_folder(self._folder, f"{self._suite.name}-scores"),
                self._command,
                self._on_progress,
            ) as (runner, _):
                for _ in range(pairs):
                    runner.replicate(groups, 0.0)  # many short pairs
                logs = {key: runner.log_ratios[key].low for key in expected if key in runner.log_ratios}
        return score(logs, expected)

    def _only(self, keys: Sequence[str]) -> list[Group]:
        """The groups with these cases alone."""
        return with_cases(self._groups, lambda case: case.key in keys)


def score(logs: Mapping[str, Sequence[float]], expected: Mapping[str, float]) -> list[float]:
    """The share of the expected changes that each pair shows, by least squares over the cases."""
    known = [key for key in expected if logs.get(key)]
    if not known:
        return []
    pairs = min(len(logs[key]) for key in known)
    values = np.array([logs[key][:pairs] for key in known])
    weights = np.array([expected[key] for key in known])
    return [float(share) for share in weights @ values / float(weights @ weights)]


def count_changes(base: Counts, head: Counts) -> dict[str, CaseChange]:
    """The cases whose counts differ, with the changes."""
    found = {}
    for key in base:
        if key in head and (different := changes(base[key], head[key])):
            found[key] = CaseChange(None, None, different)
    return found


def log_of(change: CaseChange) -> float:
    """The logarithm of a case's change of time; 0 if it is not known."""
    value = change.ratio.value if change.ratio else math.nan
    return math.log(value) if math.isfinite(value) and value > 0 else 0.0
