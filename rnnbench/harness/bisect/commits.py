"""Commits and what is measured of them: which ones lie between two, their counts, and the time of two of them."""

import math
import os
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnbench.analysis.bisection import WORK, CaseChange, Commit
from rnnbench.analysis.changes import changes
from rnnbench.errors import UserError
from rnnbench.harness.check.affected import sorted_by_kind
from rnnbench.harness.check.check import check, observed
from rnnbench.harness.check.own_code import ForeignModules, refuse_foreign
from rnnbench.harness.check.pairs import start_worker
from rnnbench.harness.check.selection import Selection
from rnnbench.harness.check.sides import Side, at_commit
from rnnbench.harness.coordinator.asking import Asker, hello
from rnnbench.harness.machine import git
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.progress import Progress
from rnnbench.store import jsonlines
from rnnbench.store.folder import lock
from rnnbench.store.records import Group, Measurement
from rnnbench.suite.suites import Suite, cases_of, with_cases
from rnnbench.text import plural

FORMAT = "%H%x1f%P%x1f%aI%x1f%s"  # separated by a character that no subject holds
FILE = "bisect.jsonl"
Counts = Mapping[str, Mapping[str, Any]]  # case's key -> its metrics
LAYOUT = 0  # of workers that only count
MAX_COMPARE_SECONDS = 120.0


class BudgetSpent(Exception):
    """No time is left to measure anything more."""


def read_commit(repository: Path, sha: str) -> Commit:
    """One commit; raises UserError if git can't show it."""
    [commit] = _log(repository, "--no-walk", sha)
    return commit


def commits_between(repository: Path, good: str, bad: str) -> list[Commit]:
    """The commits from good to bad, both included, along first parents: a merged branch is one step.

    Where `good` lies on a branch that was merged later, the first step is that merge. Raises UserError if `good` is not
    an ancestor of `bad`, or the same commit.
    """
    if good == bad:
        raise UserError(f"good and bad are the same commit, {good[:7]}; there is nothing between them")
    if not git.is_ancestor(repository, good, bad):
        common = git.merge_base(repository, good, bad)
        hint = f"; their last common commit is {common[:7]}" if common else "; they have no common commit"
        raise UserError(f"good {good[:7]} is not an ancestor of bad {bad[:7]}{hint}")
    after_good = {commit.sha for commit in _log(repository, "--ancestry-path", f"{good}..{bad}")}
    steps = _log(repository, "--first-parent", "--reverse", f"{good}..{bad}")
    return [read_commit(repository, good), *(commit for commit in steps if commit.sha in after_good)]


def without_documents(repository: Path, commits: Sequence[Commit], suite: Path) -> list[Commit]:
    """Leave out the commits that change only documentation, which no case runs; both ends stay."""
    kept = [*commits[:1]]
    for commit in commits[1:]:
        files = git.changed_files(repository, kept[-1].sha, commit.sha)
        if files is None or sorted_by_kind(files, suite.as_posix()).may_matter:
            kept.append(commit)
    return kept if kept[-1] is commits[-1] else [*kept, commits[-1]]


def branches(repository: Path, before: Commit, merge: Commit) -> list[list[Commit]]:
    """What a merge brought beside `before`: for each other parent, the commits from their last common one on."""
    found = []
    for parent in merge.parents:
        if parent == before.sha or git.is_ancestor(repository, parent, before.sha):
            continue
        common = git.merge_base(repository, before.sha, parent)
        if common is not None:
            found.append(commits_between(repository, common, parent))
    return found


def _log(repository: Path, *arguments: str) -> list[Commit]:
    commits = []
    for line in git.log(repository, FORMAT, *arguments):
        sha, parents, date, subject = line.split("\x1f", 3)
        commits.append(Commit(sha, subject, date, tuple(parents.split())))
    return commits


class Journal:
    """Results by what was measured, kept line by line, so that an interrupted bisection can go on."""

    def __init__(self, folder: Path, question: Mapping[str, Any]) -> None:
        """Read what earlier parts measured; `question`: what is searched for.

        Raises UserError if the folder holds the journal of another question, or if another process writes to it.
        """
        self._lock = lock(folder / FILE)  # two searches at once would disturb each other
        try:
            lines = list(jsonlines.read(folder / FILE))
            asked = lines[0].get("question") if lines else question
            if not isinstance(asked, dict):
                raise UserError(f"{folder}: it holds no bisection; give the folder of an interrupted one")
            other = [name for name, value in asked.items() if question.get(name) != value]
            if other:
                which = ", ".join(
                    f"{name} {asked[name]}" if name in ("good", "bad") else f"other {name}" for name in other
                )
                raise UserError(f"{folder}: it holds another bisection ({which}); give the same revisions and options")
        except BaseException:
            os.close(self._lock)
            raise
        self.results = {line["measured"]: line["result"] for line in lines[1:]}
        self.seconds: float = lines[-1].get("seconds", 0.0) if lines else 0.0  # that earlier parts took
        self._file = folder / FILE
        if not lines:
            jsonlines.append(self._file, [{"question": dict(question)}])

    def add(self, measured: str, result: Any, seconds: float) -> None:
        """Keep a result; `seconds`: that the whole bisection has taken."""
        self.results[measured] = result
        jsonlines.append(self._file, [{"measured": measured, "seconds": round(seconds, 1), "result": result}])

    def close(self) -> None:
        """Let another search write to the file."""
        os.close(self._lock)


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
        self,
        base: Commit,
        head: Commit,
        keys: Sequence[str],
        margin: float,
        share: float = 1.0,
        seconds: float = MAX_COMPARE_SECONDS,
    ) -> dict[str, CaseChange]:
        """Compare these cases of two commits in time, as `rnnbench check` does; returns the change of each.

        `margin`: how much slower counts as slower; `share`: of the error rate.
        """
        words = f"comparing {head.short} with {base.short}: {plural(len(keys), 'case')}"
        measured = f"compare {base.sha} {head.sha} {' '.join(keys)} {margin:g}"
        kept = self._kept(measured, words, lambda: self._compare(base, head, keys, margin, share, seconds))
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
        if measured not in self._journal.results:
            left = self._budget_seconds - self.seconds
            if left <= 0:
                raise BudgetSpent
            self._on_step(words, left)
            self._journal.add(measured, measure(), self.seconds)
        return self._journal.results[measured]

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

    def _compare(
        self, base: Commit, head: Commit, keys: Sequence[str], margin: float, share: float, most: float
    ) -> dict[str, Any]:
        seconds = min(most, self._budget_seconds - self.seconds)
        suite = self._suite.with_check(margin=margin, budget_seconds=seconds)
        with ExitStack() as stack:
            _, comparison = check(
                *self._sides(stack, suite, base, head),
                Selection(self._only(keys), [], []),
                out=self._folder,
                command=self._command,
                on_progress=self._on_progress,
                share=share,
            )
        if seconds < most and comparison.count("undecided"):
            raise BudgetSpent  # so that a later part compares them anew
        return {finding.case.key: CaseChange.of(finding).to_json() for finding in comparison.findings}

    def _score(self, base: Commit, head: Commit, expected: Mapping[str, float], pairs: int) -> list[float]:
        groups, name = self._only(expected), f"{self._suite.name}-scores"
        with ExitStack() as stack:
            both = self._sides(stack, self._suite, base, head)
            opened = observed(*both, groups, self._folder, name, self._command, self._on_progress)
            runner, _ = stack.enter_context(opened)
            for _ in range(pairs):
                runner.replicate(groups, 0.0)  # many short pairs
            return score({key: ratios.low for key, ratios in runner.log_ratios.items()}, expected)

    def _sides(self, stack: ExitStack, suite: Suite, base: Commit, head: Commit) -> tuple[Side, Side]:
        first = at_commit(stack, suite, base.sha, "base", self._sources)
        return first, at_commit(stack, suite, head.sha, "head", self._sources)

    def _only(self, keys: Container[str]) -> list[Group]:
        """Return the groups with these cases alone."""
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
