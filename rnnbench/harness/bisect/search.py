"""Find the commits that made cases slower: by counts where they see the change, else by time.

Counts are exact, so the commits at which they grow are found by dividing the path again and again. Time is noisy: see
`rnnbench.analysis.bisection.noisy_search`. Either way, a commit is named only after it was compared with its parent
anew. Each of these comparisons gets a share of one error rate, and all shares together are at most 1: so all names
together are wrong at most as often as one check is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rnnbench.analysis.bisection import CaseChange, Commit, SlowCommit
from rnnbench.analysis.bisection.noisy_search import NoisySearch
from rnnbench.analysis.verdict import share_of_look
from rnnbench.harness.bisect import history
from rnnbench.harness.bisect.commit_runner import CommitRunner, CompareOptions, Counts, count_changes, log_of
from rnnbench.store.records import Case

MAX_CASES_OF_A_CELL = 2  # that are searched for, the clearest; the others of the cell follow them
MAX_CASES = 8
MARGIN_SHARE = 1 / 3  # of the slowdown that is looked for: a commit with less is not its cause
MIN_MARGIN, MAX_MARGIN = 0.001, 0.99  # a run whose margin is 1 or more can't be read again
PAIRS = 4  # of workers, for one set of scores
MAX_SCORES = 24  # sets of scores in one search
REST_SECONDS = 30.0  # for the question whether something is left beside the causes found


@dataclass(frozen=True)
class PathStep:
    """A commit and the one before it that runs."""

    before: Commit
    commit: Commit
    low: int  # index of the one before on the path from good to bad; of a branch, of the one before its merge
    high: int  # index of the commit, or of the merge that brought it
    untested: tuple[Commit, ...] = ()
    merged_by: Commit | None = None


def cases_to_search(total: Mapping[str, CaseChange], cases: Mapping[str, Case]) -> list[str]:
    """The keys of the cases to search for: of each cell, those that are slower most clearly.

    If the time shows no slower case, those that are not decided and do more.
    """
    slow = [key for key, change in total.items() if change.verdict == "regressed"]
    slow = slow or [key for key, change in total.items() if change.verdict == "undecided" and change.does_more]
    chosen: list[str] = []
    of_cell: dict[str, int] = {}
    for key in sorted(slow, key=lambda key: -_lower(total[key])):
        cell = cases[key].cell
        if of_cell.get(cell, 0) < MAX_CASES_OF_A_CELL and len(chosen) < MAX_CASES:
            of_cell[cell] = of_cell.get(cell, 0) + 1
            chosen.append(key)
    return chosen


def _lower(change: CaseChange) -> float:
    lower = change.ratio.lower if change.ratio else math.nan
    return lower if math.isfinite(lower) else 0.0


@dataclass
class Search:
    """One search; its lists hold what is known so far, also after BudgetSpent."""

    runner: CommitRunner
    repository: Path
    path: Sequence[Commit]  # from good to bad
    total: Mapping[str, CaseChange]  # from good to bad
    keys: Sequence[str]  # of the cases to search for
    cells: Mapping[str, str]  # case's key -> its cell
    margin: float  # how much slower counts as slower between two commits that are not neighbours
    causes: list[SlowCommit] = field(default_factory=list)
    suspects: list[Commit] = field(default_factory=list)  # of the searches that ended without an answer
    unexplained: dict[str, None] = field(default_factory=dict)  # keys of the cases of these searches
    _comparisons: int = 0

    def run(self) -> None:
        """Search until every slowdown is explained or nothing more can be found; raises BudgetSpent."""
        steps = self._steps_of_counts(self.path)
        for step in steps:
            self._add(step, self._expected(len(steps)), "counts")
        if not steps:
            self._search(0, len(self.path) - 1, self.total)
            return
        for low, high in self._between(steps):
            self._search(low, high)

    def _expected(self, steps: int) -> dict[str, float]:
        """The logarithm of each case's slowdown at one of several steps that share it."""
        return {key: log_of(self.total[key]) / steps for key in self.keys}

    def _between(self, steps: Sequence[PathStep]) -> list[tuple[int, int]]:
        """The parts of the path before, between and after the steps."""
        lows = [0, *(step.high for step in steps)]
        highs = [*(step.low for step in steps), len(self.path) - 1]
        return [(low, high) for low, high in zip(lows, highs, strict=True) if low < high]

    def _search(self, low: int, high: int, changes: Mapping[str, CaseChange] | None = None) -> None:
        """Search a part of the path by time, if its ends differ; `changes`: how, if that is known."""
        if changes is None:
            options = CompareOptions("ends", self.margin, self._share(), REST_SECONDS)
            changes = self.runner.compare(self.path[low], self.path[high], self.keys, options)
        slow = {key: log_of(changes[key]) for key in self.keys if changes[key].verdict == "regressed"}
        if not slow:
            return
        if high == low + 1:
            step = PathStep(self.path[low], self.path[high], low, high)
            self.causes.append(self._cause(step, {key: changes[key] for key in slow}, "time", confirmed=True))
            self._behind_merge(step, slow)
            return
        cell = self.cells[max(slow, key=lambda key: slow[key])]
        expected = {key: log for key, log in slow.items() if self.cells[key] == cell}
        found = self._by_time(self.path[low : high + 1], expected)
        if found is None:
            self.unexplained |= dict.fromkeys(expected)
            return
        for part_low, part_high in ((low, low + found.low), (low + found.high, high)):
            if part_low < part_high:
                self._search(part_low, part_high)

    def _steps_of_counts(self, path: Sequence[Commit], merge: PathStep | None = None) -> list[PathStep]:
        """The steps of a path at which the counts of a case grow; `merge`: that brought it, if it is a branch."""
        if self._counts(path[0]) is None or self._counts(path[-1]) is None:
            return []
        steps = []
        for low, high in self._divided(path, 0, len(path) - 1):
            untested = tuple(path[low + 1 : high])
            if merge is None:
                step = PathStep(path[low], path[high], low, high, untested)
            else:
                merged_by = merge.merged_by or merge.commit
                step = PathStep(path[low], path[high], merge.low, merge.high, untested, merged_by)
            steps += self._within_merge(step) or [step]
        return steps

    def _divided(self, path: Sequence[Commit], low: int, high: int) -> list[tuple[int, int]]:
        """The neighbours that run and between which the counts of a case grow."""
        before, after = self._known_counts(path[low]), self._known_counts(path[high])
        differing = count_changes(before, after)
        if not differing:
            return []
        middle = (low + high) / 2
        for index in sorted(range(low + 1, high), key=lambda index: abs(index - middle)):
            if self._counts(path[index]) is not None:
                return self._divided(path, low, index) + self._divided(path, index, high)
        return [(low, high)] if any(change.does_more for change in differing.values()) else []

    def _within_merge(self, step: PathStep) -> list[PathStep]:
        """The steps on the branches that a merge brought; none if the step is no merge or they show nothing."""
        if step.untested or len(step.commit.parents) < 2:
            return []
        branches = history.branches(self.repository, step.before, step.commit)
        return [inner for branch in branches for inner in self._steps_of_counts(branch, step)]

    def _by_time(
        self, path: Sequence[Commit], expected: Mapping[str, float], merged_by: Commit | None = None
    ) -> PathStep | None:
        """Find and confirm the step of a path at which these cases get slower, by time.

        None if it is not sure, and `suspects` has the likely commits. `merged_by`: the merge that brought the path, if
        it is a branch.
        """
        attempts = iter(range(MAX_SCORES))
        search = NoisySearch(len(path) - 1, self.runner.scores(path[0], path[-1], expected, PAIRS, next(attempts)))
        for attempt in attempts:
            place = search.next_place()
            if place is None:
                low, high = search.neighbours()
                step = PathStep(path[low], path[high], low, high, tuple(path[low + 1 : high]), merged_by)
                if self._add(step, expected, "time"):
                    self._behind_merge(step, expected)
                    return step
                self.causes.pop()
                search.refuted |= set(range(low + 1, high + 1))
                continue
            scores = []
            if self._counts(path[place]) is not None:
                scores = self.runner.scores(path[0], path[place], expected, PAIRS, attempt)
            if not scores:
                search.left_out.add(place)
                continue
            search.add(place, scores)
            if search.is_mixed(place):  # there is a cause on either side: find the first one first
                mean = sum(search.scores[place]) / len(search.scores[place])
                parts = {key: mean * log for key, log in expected.items()}
                return self._by_time(path[: place + 1], parts, merged_by)
        self.suspects += [path[place] for place in search.likely]
        return None

    def _behind_merge(self, step: PathStep, expected: Mapping[str, float]) -> None:
        """Put the commit on a branch in place of the merge that brought it, if the time finds one there."""
        if step.untested or len(step.commit.parents) < 2:
            return
        merged_by = step.merged_by or step.commit
        place = len(self.causes) - 1  # of the merge, which stays if the budget ends now
        for branch in history.branches(self.repository, step.before, step.commit):
            if self._counts(branch[0]) is None or self._counts(branch[-1]) is None:
                continue
            options = CompareOptions("ends", self.margin, self._share(), REST_SECONDS)
            changes = self.runner.compare(branch[0], branch[-1], list(expected), options)
            slow = {key: log_of(change) for key, change in changes.items() if change.verdict == "regressed"}
            if slow and len(branch) == 2:
                inner = PathStep(branch[0], branch[1], step.low, step.high, merged_by=merged_by)
                self.causes[place] = self._cause(inner, changes, "time", confirmed=True)
                return
            if slow and self._by_time(branch, slow, merged_by) is not None:
                del self.causes[place]
                return

    def _add(self, step: PathStep, expected: Mapping[str, float], witness: str) -> bool:
        """Compare a commit with its parent, and keep it as a cause; returns whether the time confirms it."""
        cases: Mapping[str, CaseChange] = {key: CaseChange(None) for key in expected}
        if witness == "counts":
            before, after = self._known_counts(step.before), self._known_counts(step.commit)
            cases = {key: change for key, change in count_changes(before, after).items() if change.does_more}
        self.causes.append(self._cause(step, cases, witness, confirmed=False))  # also if the budget ends now
        slowest = min((expected[key] for key in cases), default=0.0)
        margin = min(MAX_MARGIN, max(MIN_MARGIN, math.expm1(MARGIN_SHARE * slowest)))
        options = CompareOptions(f"parent {witness} {self._comparisons}", margin, self._share())
        compared = self.runner.compare(step.before, step.commit, list(cases), options)
        confirmed = any(change.verdict == "regressed" for change in compared.values())
        self.causes[-1] = self._cause(step, compared, witness, confirmed=confirmed)
        return confirmed

    @staticmethod
    def _cause(step: PathStep, cases: Mapping[str, CaseChange], witness: str, *, confirmed: bool) -> SlowCommit:
        return SlowCommit(step.commit, step.before, cases, confirmed, witness, step.merged_by, step.untested)

    def _share(self) -> float:
        """The share of the error rate of the next comparison."""
        self._comparisons += 1
        return share_of_look(self._comparisons)

    def _counts(self, commit: Commit) -> Counts | None:
        return self.runner.counts(commit, self.keys)

    def _known_counts(self, commit: Commit) -> Counts:
        """The counts of a commit that runs."""
        counts = self._counts(commit)
        if counts is None:
            raise ValueError(f"{commit.short} does not run")
        return counts
