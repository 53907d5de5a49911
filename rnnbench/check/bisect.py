"""Find the commits that made cases slower: by counts where they see the change, else by time.

Counts are exact, so the commits at which they grow are found by dividing the path again and again. Time is noisy: at
each division, the first half is compared as in a check, which stops when it is decided, and the half that has more of
the slowdown is divided next. A wrong turn ends at a commit that its time does not confirm, and the search begins anew.
A commit is named only after it was compared with its parent anew. Each of these comparisons gets a share of one error
rate, and all shares together are at most 1: so all names together are wrong at most as often as one check is.
If bad is the child of good, their first comparison names it, with the whole error rate. If it is a merge whose branches
are searched then, the shares of that search come on top, and names are wrong at most twice as often.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.verdict import Q, share_of_look
from rnnbench.check.adoption import MAX_NAMED_FILES, lacking_files
from rnnbench.check.commits import (
    BISECT_FILE,
    BisectOptions,
    BudgetSpent,
    CommitRunner,
    Counts,
    branches,
    commits_between,
    count_changes,
)
from rnnbench.check.sides import NOT_OF_THE_CODE, Project
from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator.session import faults_in_words
from rnnbench.harness.machine import git
from rnnbench.store.folder import dated_folder
from rnnbench.store.records import Case
from rnnbench.suite.outline import cases_of, with_cases
from rnnbench.suite.suites import Suite
from rnnbench.text import first_few, plural

MAX_CASES_OF_A_CELL = 2  # that are searched for, the clearest; the others of the cell follow them
MAX_SEARCHED = 8
MARGIN_SHARE = 1 / 3  # of the slowdown that is looked for: a commit with less is not its cause
HALF = 1 / 2  # of the slowdown: a half of the path that has less is not searched first
# a run whose margin is 1 or more can't be read again
MIN_MARGIN = 0.001
MAX_MARGIN = 0.99
SEARCH_TRIES = 4  # searches by time for one slowdown
PART_SECONDS = 30.0  # for the question whether a part of the path is slower
COMPARISON_SECONDS = 120.0  # for a commit and its parent, or more if much is left
SHARE_OF_ENDS = 1 / 3  # of the budget, for good and bad, if the suite's own is less
SHARE_OF_STEP = 1 / 2  # of what is left of the budget, for a commit and its parent
NOTHING_CONFIRMED = "counts grew at these commits, but their time does not show it within the budget"


def bisect(
    suite: Suite,
    options: BisectOptions,
    *,
    out: Path,
    resume: Path | None,
    on_step: Callable[[str, float], None],
) -> tuple[Path, Bisection]:
    """Find the commits between two revisions that made cases of a suite slower; returns the folder and the answer.

    The suite's file as it is now is used for every commit. `out`: the folder in which that of a new bisection is made;
    `resume`: the folder of an interrupted one, which goes on. `on_step`: see `CommitRunner`.

    Raises UserError if a revision is unknown, `good` is not an ancestor of `bad` or is not faster, or a folder can't be
    written; Interrupted on Ctrl-C or SIGTERM.
    """
    with ExitStack() as stack:
        repository, within = Project(stack, suite).required()
    first = git.commit(repository, options.good, "good")
    last = git.commit(repository, options.bad, "bad")
    path = commits_between(repository, first, last)
    groups = with_cases(
        suite.groups(options.only, options.device), lambda case: case.implementation not in NOT_OF_THE_CODE
    )
    if not groups:
        raise UserError("only torch.nn's own cases are selected, which no commit changes; select cells")
    cases = {case.key: case for case in cases_of(groups)}
    notes = list[str]()
    if lacking := lacking_files(suite, repository, within, first):
        notes.append(f"commits that lack {first_few(lacking, MAX_NAMED_FILES)} are measured with today's")
    if resume is not None and not (resume / BISECT_FILE).exists():  # a run, say: nothing may be added to it
        raise UserError(f"{resume}: it holds no bisection; give the folder of an interrupted one")
    folder = resume or dated_folder(out, f"{suite.name}-bisect")
    runner = CommitRunner(suite, groups, repository, folder, replace(options, good=first, bad=last), on_step)
    answer = Bisection(suite.name, path[0], path[-1], len(path) - 1, {}, tuple(cases.values()), notes=tuple(notes))
    with closing(runner), faults_in_words(folder, "no answer yet (--resume goes on from there)"):
        try:
            return folder, answered(answer, runner, path, suite.check.margin, suite.check.budget_seconds)
        except Interrupted:  # one of its checks was: this folder is the one that goes on
            raise KeyboardInterrupt from None


def answered(
    answer: Bisection, runner: CommitRunner, path: Sequence[Commit], margin: float, end_seconds: float
) -> Bisection:
    """Search the path from good to bad; `margin`: of the suite, `end_seconds`: to compare good and bad."""
    cases = {case.key: case for case in answer.cases}
    try:
        most = max(end_seconds, SHARE_OF_ENDS * runner.budget_seconds)  # it ends as soon as all is decided
        total = runner.compare(path[0], path[-1], list(cases), margin, 1.0, most)
    except BudgetSpent:
        raise UserError("the budget was spent before good and bad were compared; give a larger one") from None
    keys = cases_to_search(total, cases)
    notes = [*answer.notes]
    if not keys and any(change.verdict == "undecided" for change in total.values()):
        note = "give fewer cases or a larger --budget to decide whether anything became slower"
        return replace(answer, total=total, notes=(*notes, note), seconds=round(runner.seconds, 1))
    if not keys:
        raise UserError(_not_slower(answer, total))
    if not any(total[key].verdict == "regressed" for key in keys):
        notes.append("the time of good and bad does not decide; the search follows their counts")
    search = Search(runner, path, total, {key: cases[key].cell for key in keys}, margin)
    is_finished = True
    try:
        search.run()
    except BudgetSpent:
        is_finished = False
        notes.append(f"the budget of {runner.budget_seconds:g} s was spent before the search ended")
    if search.causes and not any(cause.is_confirmed for cause in search.causes):
        notes.append(NOTHING_CONFIRMED)
    places = {commit.sha: place for place, commit in enumerate(path)}
    causes = sorted(search.causes, key=lambda cause: places.get((cause.merged_by or cause.commit).sha, 0))
    return replace(
        answer,
        total=total,
        causes=tuple(causes),
        skipped=dict(runner.skipped),
        unexplained=tuple(search.unexplained),
        suspects=tuple(search.suspects),
        notes=tuple(notes),
        is_finished=is_finished,
        seconds=round(runner.seconds, 1),
        max_error=search.max_error,
    )


def _not_slower(answer: Bisection, total: Mapping[str, CaseChange]) -> str:
    """Say why there is nothing to search for."""
    verdicts = Counter(change.verdict or "not compared" for change in total.values())
    counts = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())
    text = f"bad {answer.bad.short} is not slower than good {answer.good.short}: 0 of {plural(len(total), 'case')}"
    reason = next((f": {change.reason}" for change in total.values() if change.reason), "")
    return f"{text} regressed, {counts}{reason}"


def cases_to_search(total: Mapping[str, CaseChange], cases: Mapping[str, Case]) -> list[str]:
    """Return the keys of the cases to search for: of each cell, those that are slower most clearly.

    If the time shows no slower case, those that are not decided and do more.
    """
    slow = [key for key, change in total.items() if change.verdict == "regressed"]
    slow = slow or [key for key, change in total.items() if change.verdict == "undecided" and change.does_more]
    slow.sort(key=lambda key: -ratio.lower if (ratio := total[key].ratio) else 0.0)
    cells = [cases[key].cell for key in slow]
    clearest = [key for place, key in enumerate(slow) if cells[:place].count(cells[place]) < MAX_CASES_OF_A_CELL]
    return clearest[:MAX_SEARCHED]


@dataclass
class Search:
    """One search; its lists hold what is known so far, also after BudgetSpent."""

    runner: CommitRunner
    path: Sequence[Commit]  # from good to bad; a step is a pair of places on it, with what does not run between them
    total: Mapping[str, CaseChange]  # from good to bad
    cells: Mapping[str, str]  # keys of the cases to search for -> their cells
    margin: float  # how much slower counts as slower between two commits that are not neighbours
    causes: list[SlowCommit] = field(default_factory=list)
    suspects: list[Commit] = field(default_factory=list)  # of the searches that ended without an answer
    unexplained: dict[str, None] = field(default_factory=dict)  # keys of the cases of these searches
    shares: list[float] = field(default_factory=list)  # of the error rate, of the comparisons that may name a commit
    is_named_at_first: bool = False  # by the comparison of good and bad, which has an error rate of its own

    @property
    def max_error(self) -> float:
        """Return the share of searches in which a name may be wrong."""
        return 2 * Q if self.is_named_at_first and self.shares else Q

    def run(self) -> None:
        """Search until every slowdown is explained or nothing more can be found; raises BudgetSpent."""
        end = len(self.path) - 1
        steps = self._growing_steps(0, end) if self._counts(0) and self._counts(end) else {}
        expected = {key: self.total[key].log / max(1, len(steps)) for key in self.cells}  # of each step
        for (low, high), cases in steps.items():
            self._confirm(low, high, expected, cases, "counts")
        edges = [0, *(place for step in steps for place in step), end]
        for low, high in zip(edges[::2], edges[1::2], strict=True):
            self._search(low, high, None if steps else self.total)
        for cause in [*self.causes]:
            self._enter_merge(cause)

    def _growing_steps(self, low: int, high: int) -> dict[tuple[int, int], dict[str, CaseChange]]:
        """Return the steps, between commits that run, at which the counts of cases grow, with these cases."""
        changes = count_changes(self._counts(low) or {}, self._counts(high) or {})
        if not changes:
            return {}
        if middle := self._middle(low, high):
            return self._growing_steps(low, middle) | self._growing_steps(middle, high)
        grown = {key: change for key, change in changes.items() if change.does_more}
        return {(low, high): grown} if grown else {}

    def _search(self, low: int, high: int, changes: Mapping[str, CaseChange] | None = None) -> None:
        """Search a part of the path by time, if its ends differ; `changes`: how, if that is known."""
        if low == high:
            return
        changes = changes or self._compare_part(low, high, self.margin)
        slow = {key: changes[key].log for key in self.cells if changes[key].verdict == "regressed"}
        if high == low + 1 and slow:
            cases = {key: changes[key] for key in slow}
            self.is_named_at_first = changes is self.total
            self.causes.append(SlowCommit(self.path[high], self.path[low], cases, True, "time"))
        elif slow:
            cell = self.cells[max(slow, key=lambda key: slow[key])]
            slow = {key: log for key, log in slow.items() if self.cells[key] == cell}
            if place := self._by_time(low, high, slow):
                self._search(low, place[0])
                self._search(place[1], high)
            else:
                self.unexplained |= dict.fromkeys(slow)

    def _by_time(self, first: int, last: int, slow: Mapping[str, float]) -> tuple[int, int] | None:
        """Find and confirm the step of a part of the path at which these cases get slower.

        None if no try ends at one that is confirmed; `suspects` then has the commits of the last try.
        """
        for _ in range(SEARCH_TRIES):
            low = first
            high = last
            expected = slow
            while middle := self._middle(low, high):
                compared = self._compare_part(low, middle, _margin(HALF * min(expected.values())), expected)
                logs = np.array([[compared[key].log, log] for key, log in expected.items()])
                share = logs[:, 0] @ logs[:, 1] / (logs[:, 1] @ logs[:, 1])
                low, high = (low, middle) if share > HALF else (middle, high)
                # There may be a cause in each half: the other one's part of the slowdown is not looked for.
                expected = {key: log * min(1.0, max(share, 1 - share)) for key, log in expected.items()}
            if self._confirm(low, high, expected, {key: CaseChange(None) for key in expected}, "time"):
                return low, high
            self.causes.pop()
        self.suspects += self.path[low + 1 : high + 1]
        return None

    def _enter_merge(self, cause: SlowCommit) -> None:
        """Put what is found on the branches that a merge brought in its place; it stays if that is nothing."""
        if cause.untested or len(cause.commit.parents) < 2:
            return
        for branch in branches(self.runner.repository, cause.parent, cause.commit):
            cells = {key: self.cells[key] for key in cause.cases if key in self.cells}
            inner = Search(self.runner, branch, {}, cells, self.margin, shares=self.shares)
            if not (inner._counts(0) and inner._counts(len(branch) - 1)):
                continue
            inner.total = inner._compare_part(0, len(branch) - 1, self.margin)
            inner.run()
            if any(inner_cause.is_confirmed or not cause.is_confirmed for inner_cause in inner.causes):
                place = self.causes.index(cause)
                self.causes[place : place + 1] = [
                    replace(inner_cause, merged_by=cause.commit) for inner_cause in inner.causes
                ]
                return

    def _confirm(
        self, low: int, high: int, expected: Mapping[str, float], cases: Mapping[str, CaseChange], witness: str
    ) -> bool:
        """Compare the commits of a step, and keep it as a cause; returns whether the time confirms it.

        `expected`: logarithms of the slowdowns; `cases`: what is known of those that are compared.
        """
        parent = self.path[low]
        commit = self.path[high]
        untested = tuple(self.path[low + 1 : high])
        step = SlowCommit(commit, parent, cases, False, witness, untested=untested)
        self.causes.append(step)  # also if the budget ends now
        margin = _margin(MARGIN_SHARE * min(expected[key] for key in cases))
        seconds_left = self.runner.budget_seconds - self.runner.seconds
        most = max(COMPARISON_SECONDS, SHARE_OF_STEP * seconds_left)  # it ends as soon as all is decided
        compared = self.runner.compare(parent, commit, list(cases), margin, self._share(), most)
        confirmed = any(change.verdict == "regressed" for change in compared.values())
        self.causes[-1] = replace(step, cases=compared, is_confirmed=confirmed)
        return confirmed

    def _compare_part(
        self, low: int, high: int, margin: float, keys: Mapping[str, object] | None = None
    ) -> Mapping[str, CaseChange]:
        """Ask whether cases are slower between two commits that are not neighbours."""
        share = self._share() if keys is None else 1.0  # a division names no commit
        base = self.path[low]
        head = self.path[high]
        return self.runner.compare(base, head, list(keys or self.cells), margin, share, PART_SECONDS)

    def _share(self) -> float:
        self.shares.append(share_of_look(len(self.shares) + 1))
        return self.shares[-1]

    def _middle(self, low: int, high: int) -> int:
        """Return the place nearest to the middle between two that runs; 0 if there is none."""
        places = sorted(range(low + 1, high), key=lambda place: abs(place - (low + high) / 2))
        return next(filter(self._counts, places), 0)

    def _counts(self, place: int) -> Counts | None:
        return self.runner.counts(self.path[place], list(self.cells))


def _margin(log: float) -> float:
    return min(MAX_MARGIN, max(MIN_MARGIN, math.expm1(log)))
