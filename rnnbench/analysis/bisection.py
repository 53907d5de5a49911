"""Which commit made cases slower: the parts of the answer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnbench.analysis.comparison import Change
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Verdict
from rnnbench.store.records import Case
from rnnbench.store.stored_record import Record


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
class CaseChange(Record):
    """How one case differs between two commits."""

    verdict: Verdict | None  # of the time; None if it was not compared
    ratio: Estimate | None = None  # of the time, head over base; None if it has no interval
    changes: tuple[Change, ...] = ()  # counts that differ
    reason: str = ""  # why it was not compared

    @property
    def log(self) -> float:
        """Return the logarithm of the change of time; 0 if it is not known."""
        return math.log(self.ratio.value) if self.ratio else 0.0


@dataclass(frozen=True)
class SlowCommit:
    """A commit that made cases slower, as a comparison with its parent says."""

    commit: Commit
    parent: Commit  # what it was compared with
    cases: Mapping[str, CaseChange]  # by key; from the parent to the commit
    witness: str  # how it was found: counts or time
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
    suspects: tuple[Commit, ...] = ()  # where the search stopped: one of these
    notes: tuple[str, ...] = ()
    is_finished: bool = True  # whether the budget was enough for the whole search
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Return True if the search is finished, and the commits explain every slower case."""
        return self.is_finished and bool(self.causes) and not self.unexplained
