"""Which regressions between two commits a team has accepted, by the entries of `accepted.toml`.

What is accepted of a change is gathered before it is measured (`Accepted.change`): `rnnbench.analysis.decide` decides
with it, as with all that is known of a case.

An entry is about a change from base to head if the head contains its commit and the base does not. A commit that was
squashed or rebased is in no later head: then the entry is about the change that adds it to the file. So it is if the
clone is too shallow to have the commit, as that of a pull request in CI: the merge and its two parents, of which one is
the base.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench.analysis.comparison import Finding
from rnnbench.errors import UserError
from rnnbench.harness.machine import git
from rnnbench.store.records import Case
from rnnbench.suite.accepted import Acceptance, pairs_in, read_accepted
from rnnbench.suite.places import ACCEPTED, is_shipped
from rnnbench.suite.suites import Suite

SHALLOW = "in the workflow, give actions/checkout the line `fetch-depth: 0`"


class Accepted:
    """The entries of a suite's `accepted.toml`, and the repository that their commits are of."""

    def __init__(self, file: Path, cases: Collection[Case] = (), repository: Path | None = None) -> None:
        """Read the file, if there is one.

        `cases`: those of the suite. Raises UserError with what is wrong in the file, such as a branch as a commit.
        """
        self._file = file
        self._entries = read_accepted(file, cases)
        self._repository = repository
        self._commits = {entry.commit: self._commit_of(entry) for entry in self._entries}  # None: unknown
        self._about: dict[tuple[str, str], list[Acceptance]] = {}

    @classmethod
    def of_suite(cls, suite: Suite) -> "Accepted":
        """Read the file that lies beside a suite's; raises UserError with what is wrong in it."""
        file = suite.file.parent / ACCEPTED
        if not file.exists():
            return cls(file)
        return cls(file, suite.cases(), git.top(Path() if is_shipped(suite.file) else suite.file.parent))

    def _commit_of(self, entry: Acceptance) -> str | None:
        if self._repository is None:
            return None
        commit = git.fixed_commit(self._repository, entry.commit)
        if commit is None and git.is_revision(self._repository, f"{entry.commit}^{{commit}}"):
            raise UserError(
                f"{self._file}: {entry.place}.commit: {entry.commit} will name other commits later; expected an "
                "abbreviated hash or a tag"
            )
        return commit

    def about(self, base: str | None, head: str | None) -> Sequence[Acceptance]:
        """Return the entries that are about the change from one commit to another; none if a commit is not known."""
        if self._repository is None or base is None or head is None or not self._entries:
            return ()
        if (base, head) not in self._about:
            self._about[base, head] = self._find(self._repository, base, head)
        return self._about[base, head]

    def _find(self, repository: Path, base: str, head: str) -> list[Acceptance]:
        if not all(git.is_revision(repository, f"{commit}^{{commit}}") for commit in (base, head)):
            return []  # then nobody knows what lies between them
        between = git.commits_between(repository, base, head)
        matches = [entry for entry in self._entries if self._commits[entry.commit] in between]
        lost = [entry for entry in self._entries if self._is_lost(repository, entry, head)]
        if lost:
            added = self._pairs_at(repository, head) - self._pairs_at(repository, base)
            matches += [entry for entry in lost if (entry.case, entry.commit) in added]
        return matches

    def _pairs_at(self, repository: Path, commit: str) -> set[tuple[str, str]]:
        """Return the case and the commit of each entry that the file has at a commit, or in the tree that is there."""
        if commit == git.head(repository):
            return {(entry.case, entry.commit) for entry in self._entries}
        return pairs_in(git.text_at(repository, commit, self._file))

    def _is_lost(self, repository: Path, entry: Acceptance, head: str) -> bool:
        """Return True if a head lacks the commit of an entry, as far as is known here.

        It was squashed, rebased or never merged, or the clone is too shallow to have it.
        """
        commit = self._commits[entry.commit]
        return commit is None or git.merge_base(repository, commit, head) != commit

    def reason(self, case: Case, base: str | None, head: str | None, lower: float | None) -> str:
        """Return why the change of a case from one commit to another is accepted; empty if it is not.

        `lower`: the lower end of the ratio of head to base, if it is known.
        """
        about = (entry for entry in _naming(case, self.about(base, head)) if entry.allows(lower))
        return next((entry.reason for entry in about), "")

    def change(self, base: str | None) -> "AcceptedChange":
        """Return what is accepted of the change from a commit to the working tree, if the commit is known."""
        repository = self._repository
        if repository is None or not self._entries:
            return AcceptedChange(self._file, self._entries)
        return AcceptedChange(
            self._file,
            self._entries,
            tuple(self.about(base, git.head(repository))),
            frozenset(name for name, commit in self._commits.items() if commit is None),
            has_repository=True,
            is_shallow=git.is_shallow(repository),
        )


@dataclass(frozen=True)
class AcceptedChange:
    """What is accepted of one change: all that is known of it before a case is judged."""

    file: Path
    entries: tuple[Acceptance, ...] = ()
    about: tuple[Acceptance, ...] = ()  # the entries about this change
    unknown: frozenset[str] = frozenset()  # the commits of entries that the repository does not have
    has_repository: bool = False
    is_shallow: bool = False

    def entries_for(self, case: Case) -> tuple[Acceptance, ...]:
        """Return the entries about this change that name a case."""
        return _naming(case, self.about)

    def notes(self, findings: Sequence[Finding]) -> list[str]:
        """Return a note for each entry that should accept something in the findings and does not."""
        if not self.entries:
            return []
        if not self.has_repository:
            return [f"{self.file}: it is in no git repository, so nothing is accepted"]
        notes = []
        for entry in self.entries:
            is_new = entry in self.about
            if entry.commit in self.unknown and (is_new or not self.is_shallow or _slower(entry, findings)):
                fault = _unknown(entry, is_new=is_new, is_shallow=self.is_shallow)
                notes.append(f"{self.file}: {entry.place}.commit: {fault}")
            if is_new and (why := _accepts_nothing(entry, findings)):
                notes.append(f"{self.file}: {entry.place}: {why}")
        return notes


NOTHING_ACCEPTED = AcceptedChange(Path(ACCEPTED))


def _naming(case: Case, entries: Iterable[Acceptance]) -> tuple[Acceptance, ...]:
    """Return the entries that name a case."""
    return tuple(entry for entry in entries if entry.selects(case))


def _unknown(entry: Acceptance, *, is_new: bool, is_shallow: bool) -> str:
    """Return what follows from a commit that the repository does not have, and what to do."""
    missing = f"no commit or tag is called {entry.commit}"
    remedy = "if it was squashed or rebased, name the new commit"
    if is_shallow:
        missing = f"{entry.commit} is not in this shallow clone"
        remedy = SHALLOW
    return f"{missing}, so the entry is about the change that adds it" if is_new else f"{missing}; {remedy}"


def _slower(entry: Acceptance, findings: Sequence[Finding]) -> list[Finding]:
    """Return the cases that an entry names and that regressed, whether it is about this change or not."""
    return [finding for finding in findings if finding.is_slowdown and _naming(finding.case, [entry])]


def _accepts_nothing(entry: Acceptance, findings: Sequence[Finding]) -> str:
    """Return why an entry that is about this change accepts nothing in it, or not all; empty if it does."""
    slower = _slower(entry, findings)
    if not any(_naming(finding.case, [entry]) for finding in findings):
        return f"no case of this check has {entry.case}"
    if not slower:
        return f"no case with {entry.case} regressed"
    if entry.up_to is not None and (larger := sum(not entry.allows(finding.lower) for finding in slower)):
        return f"{larger} of {len(slower)} regressed by more than {100 * entry.up_to:g}%, which it accepts"
    return ""
