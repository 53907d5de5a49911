"""Which commit made cases slower: the parts of the answer, and the search by noisy times.

A bisection that believes each measurement goes wrong for good after the first one that misleads. In `NoisySearch`
every place keeps a probability (Horstein 1963, doi:10.1109/TIT.1963.1057832; Waeber, Frazier & Henderson 2013,
doi:10.1137/120861898): a measurement moves probability to one side, later ones may move it back, and the next is taken
at the median. Scores are taken as Student's t with the few degrees of freedom that their number allows, so that a
stall does not decide.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from scipy import stats

from rnnbench.analysis.changes import Change
from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import OLDER_WORDS, Q, Verdict
from rnnbench.store.metrics import BY_NAME, METRICS
from rnnbench.store.records import Case

WORK = tuple(metric.name for metric in METRICS if metric.time_follows)


@dataclass(frozen=True)
class Commit:
    """A commit of the repository."""

    sha: str
    subject: str = ""
    date: str = ""  # of its author, ISO 8601
    parents: tuple[str, ...] = ()  # the first is the branch that it was made on

    @property
    def short(self) -> str:
        """The start of its number, as git shows it."""
        return self.sha[:7]


@dataclass(frozen=True)
class CaseChange:
    """How one case differs between two commits."""

    verdict: Verdict | None  # of the time; None if it was not compared
    ratio: Estimate | None = None  # of the time, head over base
    changes: tuple[Change, ...] = ()  # counts that differ
    reason: str = ""  # why it was not compared

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """The change that a check found."""
        return cls(finding.time_verdict, finding.deciding, finding.changes, finding.reason)

    @property
    def does_more(self) -> bool:
        """Whether the head makes more operator calls, allocations or multiply-accumulates."""
        return any(change.metric.name in WORK and change.head > change.base for change in self.changes)

    def to_json(self) -> dict[str, Any]:
        """The change as values for JSON."""
        return {
            "verdict": self.verdict,
            "ratio": asdict(self.ratio) if self.ratio else None,
            "changes": [[change.metric.name, change.base, change.head] for change in self.changes],
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            OLDER_WORDS.get(line["verdict"], line["verdict"]),
            Estimate(**line["ratio"]) if line["ratio"] else None,
            tuple(Change(BY_NAME[name], base, head) for name, base, head in line["changes"]),
            line["reason"],
        )


@dataclass(frozen=True)
class SlowCommit:
    """A commit that made cases slower."""

    commit: Commit
    parent: Commit  # what it was compared with
    cases: Mapping[str, CaseChange]  # by key; from the parent to the commit
    is_confirmed: bool  # by the time of commit and parent; else only by counts, or by what the search made likely
    witness: str  # how it was found: counts or time
    merged_by: Commit | None = None  # the merge that brought it, if it is from another branch
    untested: tuple[Commit, ...] = ()  # commits between parent and commit that do not run: one of them may be the cause


@dataclass(frozen=True)
class Bisection:
    """The answer: the commits from good to bad that made cases slower."""

    suite: str
    good: Commit
    bad: Commit
    commits: int  # between good and bad, without good
    total: Mapping[str, CaseChange]  # from good to bad, of every case
    cases: tuple[Case, ...] = ()  # all that were compared
    causes: tuple[SlowCommit, ...] = ()  # in the order of the commits
    skipped: Mapping[str, str] = field(default_factory=dict)  # short number -> why that commit does not run
    unexplained: tuple[str, ...] = ()  # keys of cases that are slower by more than the causes say
    suspects: tuple[Commit, ...] = ()  # where the search stopped: one of these, most likely first
    notes: tuple[str, ...] = ()
    is_finished: bool = True  # whether the budget was enough for the whole search
    seconds: float = 0.0
    max_error: float = Q  # that a confirmed cause is wrong, over all of them

    @property
    def is_complete(self) -> bool:
        """Whether the search is finished, and commits that time has confirmed explain every slower case."""
        is_explained = bool(self.causes) and all(cause.is_confirmed for cause in self.causes) and not self.unexplained
        return self.is_finished and is_explained

    def with_notes(self, *notes: str) -> "Bisection":
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))


MAX_FREEDOM = 5.0  # of the likelihood, whose tails stay heavy however many scores there are
SURE = 0.99
LOG_REFUTED = math.log(1e-3)  # what a comparison without a rise leaves of a place's probability
MIXED = (0.25, 0.75)  # a score whose interval lies between these is neither before nor after a single rise
MIXED_ERRORS = 3.0  # half-width of that interval, in standard errors
MIN_TO_BE_MIXED = 6  # scores


@dataclass
class NoisySearch:
    """The place of one rise among places 1 to `count`, with the scores that are known so far."""

    count: int
    end_scores: Sequence[float]  # of the last place, which show how scores scatter
    scores: dict[int, list[float]] = field(default_factory=dict)  # place -> its scores
    left_out: set[int] = field(default_factory=set)  # places that can't be measured
    refuted: set[int] = field(default_factory=set)  # places that were compared with the one before, without a rise

    def add(self, place: int, scores: Sequence[float]) -> None:
        """Add scores of a place."""
        self.scores.setdefault(place, []).extend(scores)

    @property
    def probabilities(self) -> np.ndarray:
        """For each place from 1 on, the probability that the score rises there."""
        spread, freedom = self._spread()
        logs = np.zeros(self.count)
        places = np.arange(1, self.count + 1)
        for place, scores in self.scores.items():
            error = spread / math.sqrt(len(scores))
            mean = float(np.mean(scores))
            after, before = (stats.t.logpdf((mean - level) / error, freedom) for level in (1.0, 0.0))
            logs += np.where(places <= place, after, before)
        logs[[place - 1 for place in self.refuted]] += LOG_REFUTED
        weights = np.exp(logs - logs.max())
        return np.asarray(weights / weights.sum())

    def neighbours(self) -> tuple[int, int]:
        """The most likely step: a place that can be measured (0 always can), and the next one that can.

        The rise is at the second, or at one between them.
        """
        best = int(np.argmax(self.probabilities)) + 1
        low = max(place for place in range(best) if place not in self.left_out)
        high = min(place for place in range(best, self.count + 1) if place not in self.left_out)
        return low, high

    @property
    def likely(self) -> list[int]:
        """The places that together have a probability of SURE, the most likely first."""
        probabilities = self.probabilities
        order = np.argsort(-probabilities, kind="stable")
        enough = int(np.searchsorted(np.cumsum(probabilities[order]), SURE)) + 1
        return [int(index) + 1 for index in order[:enough]]

    def next_place(self) -> int | None:
        """The place to measure next: nearest to the median; None if the answer is sure, or nothing is left to measure.

        A place and the ones before it that can't be measured are one answer.
        """
        measurable = [place for place in range(1, self.count) if place not in self.left_out]
        if not measurable:
            return None
        cumulated = np.cumsum(self.probabilities)
        place = min(measurable, key=lambda place: abs(float(cumulated[place - 1]) - 0.5))
        # Below `place` the rise is at or before it, above it is after: if either is sure, nothing divides the rest.
        if min(float(cumulated[place - 1]), 1 - float(cumulated[place - 1])) < 1 - SURE:
            return None
        return place

    def is_mixed(self, place: int) -> bool:
        """Whether a place's score lies between 0 and 1: then the score rises both before and after it."""
        scores = self.scores.get(place, [])
        if len(scores) < MIN_TO_BE_MIXED:
            return False
        half = MIXED_ERRORS * self._spread()[0] / math.sqrt(len(scores))
        mean = float(np.mean(scores))
        return MIXED[0] < mean - half and mean + half < MIXED[1]

    def _spread(self) -> tuple[float, float]:
        """The standard deviation of scores around the mean of their place, and its degrees of freedom, limited."""
        samples = [self.end_scores, *self.scores.values()]
        squares = sum(float(np.sum((np.array(each) - np.mean(each)) ** 2)) for each in samples if len(each) > 1)
        freedom = sum(len(each) - 1 for each in samples if len(each) > 1)
        if not freedom:
            return 1.0, 1.0
        return max(math.sqrt(squares / freedom), 1e-6), min(float(freedom), MAX_FREEDOM)
