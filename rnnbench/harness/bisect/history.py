"""The commits between two revisions, and the branches that a merge brought."""

from collections.abc import Sequence
from pathlib import Path

from rnnbench.analysis.bisection import Commit
from rnnbench.errors import UserError
from rnnbench.harness.check.affected import sorted_by_kind
from rnnbench.harness.machine import git

FORMAT = "%H%x1f%P%x1f%aI%x1f%s"  # separated by a character that no subject holds


def read_commit(repository: Path, sha: str) -> Commit:
    """One commit; raises UserError if git can't show it."""
    [commit] = _log(repository, "--no-walk", sha)
    return commit


def path(repository: Path, good: str, bad: str) -> list[Commit]:
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
            found.append(path(repository, common, parent))
    return found


def _log(repository: Path, *arguments: str) -> list[Commit]:
    commits = []
    for line in git.log(repository, FORMAT, *arguments):
        sha, parents, date, subject = line.split("\x1f", 3)
        commits.append(Commit(sha, subject, date, tuple(parents.split())))
    return commits
