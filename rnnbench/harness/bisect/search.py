"""Find the commits that made cases slower: by counts where they see the change, else by time.

Counts are exact, so the commits at which they grow are found by dividing the path again and again. Time is noisy: see
`rnnbench.analysis.bisection`. Either way, a commit is named only after it was compared with its parent
anew. Each of these comparisons gets a share of one error rate, and all shares together are at most 1: so all names
together are wrong at most as often as one check is.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from rnnbench.analysis.bisection import CaseChange, Commit, NoisySearch, SlowCommit
from rnnbench.analysis.verdict import share_of_look
from rnnbench.harness.bisect.commits import CommitRunner, Counts, branches, count_changes, log_of
from rnnbench.store.records import Case

MAX_CASES_OF_A_CELL = 2  # that are searched for, the clearest; the others of the cell follow them
MAX_CASES = 8
MARGIN_SHARE = 1 / 3  # of the slowdown that is looked for: a commit with less is not its cause
MIN_MARGIN, MAX_MARGIN = 0.001, 0.99  # a run whose margin is 1 or more can't be read again
PAIRS = 4  # of workers, for one set of scores
MAX_SCORES = 24  # sets of scores in one search
REST_SECONDS = 30.0  # for the question whether something is left beside the causes found


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
    path: Sequence[Commit]  # from good to bad; a step is a pair of places on it, with what does not run between them
    total: Mapping[str, CaseChange]  # from good to bad
    keys: Sequence[str]  # of the cases to search for
    cells: Mapping[str, str]  # case's key -> its cell
    margin: float  # how much slower counts as slower between two commits that are not neighbours
    causes: list[SlowCommit] = field(default_factory=list)
    suspects: list[Commit] = field(default_factory=list)  # of the searches that ended without an answer
    unexplained: dict[str, None] = field(default_factory=dict)  # keys of the cases of these searches
    shares: Iterator[float] = field(default_factory=lambda: map(share_of_look, count(1)))  # of the error rate

    def run(self) -> None:
        """Search until every slowdown is explained or nothing more can be found; raises BudgetSpent."""
        end = len(self.path) - 1
        steps = [] if None in (self._counts(0), self._counts(end)) else self._growing_steps(0, end)
        expected = {key: log_of(self.total[key]) / max(1, len(steps)) for key in self.keys}  # of each step
        for low, high in steps:
            self._confirm(low, high, expected, "counts")
        edges = [0, *(place for step in steps for place in step), end]
        for low, high in zip(edges[::2], edges[1::2], strict=True):
            if low < high:
                self._search(low, high, None if steps else self.total)
        for cause in [*self.causes]:
            self._enter_merge(cause)

    def _growing_steps(self, low: int, high: int) -> list[tuple[int, int]]:
        """Return the steps, between commits that run, at which the counts of a case grow."""
        differing = count_changes(self._counts(low) or {}, self._counts(high) or {})
        if not differing:
            return []
        middle = (low + high) / 2
        for place in sorted(range(low + 1, high), key=lambda place: abs(place - middle)):
            if self._counts(place) is not None:
                return self._growing_steps(low, place) + self._growing_steps(place, high)
        return [(low, high)] if any(change.does_more for change in differing.values()) else []

    def _search(self, low: int, high: int, changes: Mapping[str, CaseChange] | None = None) -> None:
        """Search a part of the path by time, if its ends differ; `changes`: how, if that is known."""
        changes = changes or self._rest(self.path[low], self.path[high], self.keys)
        slow = {key: log_of(changes[key]) for key in self.keys if changes[key].verdict == "regressed"}
        if not slow:
            return
        if high == low + 1:
            self.causes.append(self._cause(low, high, {key: changes[key] for key in slow}, "time", confirmed=True))
            return
        cell = self.cells[max(slow, key=lambda key: slow[key])]
        expected = {key: log for key, log in slow.items() if self.cells[key] == cell}
        if (found := self._by_time(low, high, expected)) is None:
            self.unexplained |= dict.fromkeys(expected)
            return
        for part in ((low, found[0]), (found[1], high)):
            if part[0] < part[1]:
                self._search(*part)

    def _by_time(self, first: int, last: int, expected: Mapping[str, float]) -> tuple[int, int] | None:
        """Find and confirm the step of a part of the path at which these cases get slower, by time.

        None if it is not sure, and `suspects` has the likely commits.
        """
        base, attempts = self.path[first], iter(range(MAX_SCORES))
        search = NoisySearch(last - first, self.runner.scores(base, self.path[last], expected, PAIRS, next(attempts)))
        for attempt in attempts:
            place = search.next_place()
            if place is None:
                low, high = search.neighbours()
                if self._confirm(first + low, first + high, expected, "time"):
                    return first + low, first + high
                self.causes.pop()
                search.refuted |= set(range(low + 1, high + 1))
                continue
            scores = []
            if self._counts(first + place) is not None:
                scores = self.runner.scores(base, self.path[first + place], expected, PAIRS, attempt)
            if not scores:
                search.left_out.add(place)
                continue
            search.add(place, scores)
            if search.is_mixed(place):  # there is a cause on either side: find the first one first
                mean = sum(search.scores[place]) / len(search.scores[place])
                return self._by_time(first, first + place, {key: mean * log for key, log in expected.items()})
        self.suspects += [self.path[first + place] for place in search.likely]
        return None

    def _enter_merge(self, cause: SlowCommit) -> None:
        """Put what is found on the branches that a merge brought in its place; it stays if that is nothing."""
        if cause.untested or len(cause.commit.parents) < 2:
            return
        keys = list(cause.cases)
        for branch in branches(self.repository, cause.parent, cause.commit):
            if any(self.runner.counts(commit, self.keys) is None for commit in (branch[0], branch[-1])):
                continue
            total = self._rest(branch[0], branch[-1], keys)
            inner = Search(
                self.runner, self.repository, branch, total, keys, self.cells, self.margin, shares=self.shares
            )
            inner.run()
            if any(found.is_confirmed or not cause.is_confirmed for found in inner.causes):
                place = self.causes.index(cause)
                self.causes[place : place + 1] = [replace(found, merged_by=cause.commit) for found in inner.causes]
                return

    def _confirm(self, low: int, high: int, expected: Mapping[str, float], witness: str) -> bool:
        """Compare the commits of a step, and keep it as a cause; returns whether the time confirms it."""
        cases: Mapping[str, CaseChange] = {key: CaseChange(None) for key in expected}
        if witness == "counts":
            grown = count_changes(self._counts(low) or {}, self._counts(high) or {})
            cases = {key: change for key, change in grown.items() if change.does_more}
        self.causes.append(self._cause(low, high, cases, witness, confirmed=False))  # also if the budget ends now
        slowest = min((expected[key] for key in cases), default=0.0)
        margin = min(MAX_MARGIN, max(MIN_MARGIN, math.expm1(MARGIN_SHARE * slowest)))
        compared = self.runner.compare(self.path[low], self.path[high], list(cases), margin, next(self.shares))
        confirmed = any(change.verdict == "regressed" for change in compared.values())
        self.causes[-1] = self._cause(low, high, compared, witness, confirmed=confirmed)
        return confirmed

    def _cause(
        self, low: int, high: int, cases: Mapping[str, CaseChange], witness: str, *, confirmed: bool
    ) -> SlowCommit:
        untested = tuple(self.path[low + 1 : high])
        return SlowCommit(self.path[high], self.path[low], cases, confirmed, witness, untested=untested)

    def _rest(self, base: Commit, head: Commit, keys: Sequence[str]) -> Mapping[str, CaseChange]:
        """Ask whether something is slower between two commits that are not neighbours."""
        return self.runner.compare(base, head, keys, self.margin, next(self.shares), REST_SECONDS)

    def _counts(self, place: int) -> Counts | None:
        return self.runner.counts(self.path[place], self.keys)
