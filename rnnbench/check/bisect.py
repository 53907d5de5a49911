"""Find the commits that made cases slower: halve the path from good to bad, and ask of each half how much it lost.

A merged branch is one step of the path. Counts are exact, so they say where they grow, if they do; otherwise the first
half is compared in time, as in a check. The half that has more of the slowdown is halved next. Time is noisy: a wrong
turn ends at a commit that is not slower than its parent, and the search begins anew.

A commit is named only after it was compared with its parent. Each comparison that may name one gets a share of one
error rate, and all shares together are at most 1, so all names together are wrong at most as often as one check is.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from rnnbench.analysis.bisection import Bisection, CaseChange, Commit, SlowCommit
from rnnbench.analysis.verdict import share_of_look
from rnnbench.check.adoption import MAX_NAMED_FILES, lacking_files
from rnnbench.check.commits import BisectOptions, BudgetSpent, CommitRunner, commits_between, growth
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
GIVE_MORE = "give fewer cases or a larger --budget to decide whether anything became slower"


def bisect(
    suite: Suite, options: BisectOptions, *, out: Path, on_step: Callable[[str, float], None]
) -> tuple[Path, Bisection]:
    """Find the commits between two revisions that made cases of a suite slower; returns the folder and the answer.

    The suite's file as it is now is used for every commit. `out`: the folder in which that of the bisection is made;
    `on_step`: see `CommitRunner`.

    Raises UserError if a revision is unknown, `good` is not an ancestor of `bad` or is not faster, or a folder can't be
    written; Interrupted on Ctrl-C or SIGTERM.
    """
    with ExitStack() as stack:
        repository, within = Project(stack, suite).required()
    first = git.commit(repository, options.good, "good")
    path = commits_between(repository, first, git.commit(repository, options.bad, "bad"))
    groups = with_cases(
        suite.groups(options.only, options.device), lambda case: case.implementation not in NOT_OF_THE_CODE
    )
    if not groups:
        raise UserError("only torch.nn's own cases are selected, which no commit changes; select cells")
    notes = list[str]()
    if lacking := lacking_files(suite, repository, within, first):
        notes.append(f"commits that lack {first_few(lacking, MAX_NAMED_FILES)} are measured with today's")
    folder = dated_folder(out, f"{suite.name}-bisect")
    runner = CommitRunner(suite, groups, folder, options, on_step)
    cases = tuple(cases_of(groups))
    answer = Bisection(suite.name, path[0], path[-1], len(path) - 1, {}, cases, notes=tuple(notes))
    with faults_in_words(folder, "no answer"):
        try:
            return folder, answered(answer, runner, path, suite.check.margin, suite.check.budget_seconds)
        except Interrupted:  # one of its checks was: this folder is the one that is named
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
    answer = replace(answer, total=total)
    keys = cases_to_search(total, cases)
    if not keys and any(change.verdict == "undecided" for change in total.values()):
        return replace(answer, notes=(*answer.notes, GIVE_MORE), seconds=round(runner.seconds, 1))
    if not keys:
        raise UserError(_not_slower(answer, total))
    search = Search(runner, path, {key: cases[key].cell for key in keys}, margin)
    is_finished = True
    try:
        search.search(0, len(path) - 1, total)
    except BudgetSpent:
        is_finished = False
        search.suspects = search.part
    places = {commit.sha: place for place, commit in enumerate(path)}
    return replace(
        answer,
        causes=tuple(sorted(search.causes, key=lambda cause: places[cause.commit.sha])),
        skipped=dict(runner.skipped),
        unexplained=tuple(search.unexplained),
        suspects=tuple(search.suspects),
        is_finished=is_finished,
        seconds=round(runner.seconds, 1),
    )


def _not_slower(answer: Bisection, total: Mapping[str, CaseChange]) -> str:
    """Say why there is nothing to search for."""
    verdicts = Counter(change.verdict or "not compared" for change in total.values())
    counts = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())
    text = f"bad {answer.bad.short} is not slower than good {answer.good.short}: 0 of {plural(len(total), 'case')}"
    reason = next((f": {change.reason}" for change in total.values() if change.reason), "")
    return f"{text} regressed, {counts}{reason}"


def cases_to_search(total: Mapping[str, CaseChange], cases: Mapping[str, Case]) -> list[str]:
    """Return the keys of the cases to search for: of each cell, those that are slower most clearly."""
    slow = [key for key, change in total.items() if change.verdict == "regressed"]
    slow.sort(key=lambda key: -ratio.lower if (ratio := total[key].ratio) else 0.0)
    cells = [cases[key].cell for key in slow]
    clearest = [key for place, key in enumerate(slow) if cells[:place].count(cells[place]) < MAX_CASES_OF_A_CELL]
    return clearest[:MAX_SEARCHED]


@dataclass
class Search:
    """One search; its lists hold what is known so far, also after BudgetSpent."""

    runner: CommitRunner
    path: Sequence[Commit]  # from good to bad; a part of it lies between two places, `low` and `high`
    cells: Mapping[str, str]  # keys of the cases to search for -> their cells
    margin: float  # how much slower counts as slower between two commits that are not neighbours
    causes: list[SlowCommit] = field(default_factory=list)
    unexplained: dict[str, None] = field(default_factory=dict)  # keys of the cases whose searches found no commit
    suspects: Sequence[Commit] = ()  # of the last of these searches
    part: Sequence[Commit] = ()  # one of these is searched for
    shares: int = 0  # how many comparisons, which may name a commit, have got a share of the error rate

    def search(self, low: int, high: int, changes: Mapping[str, CaseChange]) -> None:
        """Find the commits of a part of the path at which cases get slower; `changes`: of its ends.

        Raises BudgetSpent.
        """
        self.part = self.path[low + 1 : high + 1]
        slow = {key: changes[key].log for key in self.cells if changes[key].verdict == "regressed"}
        if not slow:
            return
        if self._middle(low, high) is None:
            self._name(low, high, {key: changes[key] for key in slow}, "time")
            return
        cell = self.cells[max(slow, key=lambda key: slow[key])]
        slow = {key: log for key, log in slow.items() if self.cells[key] == cell}
        step = self._slow_step(low, high, slow)
        if step is None:
            self.unexplained |= dict.fromkeys(slow)
            return
        before, after = step
        for start, end in ((low, before), (after, high)):
            if start < end:
                self.part = self.path[start + 1 : end + 1]
                share = self._share()
                again = self._compare(start, end, list(self.cells), self.margin, share, PART_SECONDS)
                self.search(start, end, again)

    def _slow_step(self, low: int, high: int, slow: Mapping[str, float]) -> tuple[int, int] | None:
        """Find the step of a part of the path at which cases get slower, and name its commit if time confirms it.

        `slow`: the logarithms of the slowdowns. None if no try ends at such a step; `suspects` then has the commits of
        the last try.
        """
        witnesses = ["time"] * SEARCH_TRIES
        if self._growth(low, high, slow) > 0:
            witnesses.insert(0, "counts")
        for witness in witnesses:
            before, after, expected = self._halved(low, high, slow, witness)
            margin = margin_between(MARGIN_SHARE * min(expected.values()))
            seconds_left = self.runner.budget_seconds - self.runner.seconds
            most = max(COMPARISON_SECONDS, SHARE_OF_STEP * seconds_left)  # it ends as soon as all is decided
            compared = self._compare(before, after, list(expected), margin, self._share(), most)
            if any(change.verdict == "regressed" for change in compared.values()):
                self._name(before, after, compared, witness)
                return before, after
        self.suspects = self.part
        return None

    def _halved(
        self, low: int, high: int, slow: Mapping[str, float], witness: str
    ) -> tuple[int, int, Mapping[str, float]]:
        """Halve a part of the path until nothing that runs lies between its ends; returns these, and their slowdown."""
        expected = slow
        while (middle := self._middle(low, high)) is not None:
            if witness == "counts":
                share = self._growth(low, middle, expected) / self._growth(low, high, expected)
            else:
                share = self._share_of_time(low, middle, expected)
            if share > HALF:
                high = middle
            else:
                low = middle
            self.part = self.path[low + 1 : high + 1]
            # There may be a cause in each half: the other one's part of the slowdown is not looked for.
            larger = min(1.0, max(share, 1 - share))
            expected = {key: log * larger for key, log in expected.items()}
        return low, high, expected

    def _share_of_time(self, low: int, middle: int, expected: Mapping[str, float]) -> float:
        """Compare the first half of a part of the path; returns its share of the slowdown that is expected of both."""
        margin = margin_between(HALF * min(expected.values()))
        compared = self._compare(low, middle, list(expected), margin, 1.0, PART_SECONDS)  # it names no commit
        along = sum(compared[key].log * log for key, log in expected.items())
        return along / sum(log * log for log in expected.values())

    def _compare(
        self, low: int, high: int, keys: Sequence[str], margin: float, share: float, most: float
    ) -> Mapping[str, CaseChange]:
        return self.runner.compare(self.path[low], self.path[high], keys, margin, share, most)

    def _name(self, low: int, high: int, cases: Mapping[str, CaseChange], witness: str) -> None:
        untested = tuple(self.path[low + 1 : high])
        self.causes.append(SlowCommit(self.path[high], self.path[low], cases, witness, untested))

    def _growth(self, low: int, high: int, keys: Mapping[str, float]) -> float:
        """Return how much the counts of the work of these cases grow; 0 if one of the commits does not run."""
        base = self.runner.counts(self.path[low], list(self.cells))
        head = self.runner.counts(self.path[high], list(self.cells))
        if base is None or head is None:
            return 0.0
        return sum(growth(base[key], head[key]) for key in keys)

    def _share(self) -> float:
        self.shares += 1
        return share_of_look(self.shares)

    def _middle(self, low: int, high: int) -> int | None:
        """Return the place nearest to the middle between two that runs; None if there is none."""
        places = sorted(range(low + 1, high), key=lambda place: abs(place - (low + high) / 2))
        return next((place for place in places if self.runner.counts(self.path[place], list(self.cells))), None)


def margin_between(log: float) -> float:
    """Return a slowdown, given as a logarithm, as a margin that a suite may have."""
    return min(MAX_MARGIN, max(MIN_MARGIN, math.expm1(log)))
