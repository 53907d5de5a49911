"""The git commands that rnnbench needs; a refusal becomes an error in words."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.temporary import PREFIX, remove_abandoned, scratch
from rnnbench.text import writable

# git sets these for its hooks, and a hook may run rnnbench: they would name the repository instead of the folder.
OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
GIT_SECONDS = 60.0  # timeout of a git command
OFF = ("--no-optional-locks", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
QUIET_GIT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # messages in English, because rnnbench reads them
WORKTREE = "base"  # in the name of a temporary worktree's folder
# The address of a remote, whose groups are its host and its path: https://, ssh:// or user@host:path.
NO_REPOSITORY = "not a git repository (or any"  # git's message if no parent folder is a repository either


def commit_and_changes(folder: Path) -> dict[str, Any] | None:
    """Return the commit and whether files differ from it; None without a repository or an answer of git."""
    options = ("--porcelain", "--untracked-files=no", "--ignore-submodules=untracked")
    commit = _ask(folder, "rev-parse", "HEAD")
    changed = _ask(folder, "status", *options)
    return None if commit is None or changed is None else {"commit": commit, "dirty": bool(changed)}


def head(folder: Path) -> str | None:
    """Return the commit that is checked out; None without a repository or a commit."""
    return _ask(folder, "rev-parse", "--verify", "--quiet", "HEAD")


def top(folder: Path) -> Path | None:
    """Return the top folder of the repository that contains `folder`; None if there is none or git is not installed.

    Raises UserError with git's message if git finds a repository but refuses to work in it.
    """
    try:
        return Path(_run(folder, "rev-parse", "--show-toplevel").removesuffix("\n"))
    except UserError as refusal:
        if NO_REPOSITORY in str(refusal) or shutil.which("git") is None:
            return None
        raise


def commit(repository: Path, revision: str, name: str = "base") -> str:
    """Return the commit that a revision names; raises UserError if there is no such revision, and calls it `name`."""
    sha = _ask(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if sha is None:
        remedy = (
            "; this is a shallow clone: run `git fetch --unshallow`, or in a workflow give actions/checkout "
            "`fetch-depth: 2` for a commit's parent, `fetch-depth: 0` for the whole history"
        )
        hint = remedy if is_shallow(repository) else ""
        what = "neither a folder nor a revision" if name == "base" else "no revision"
        raise UserError(f"{name} {revision}: {what} of {repository}{hint}")
    return sha


def is_shallow(repository: Path) -> bool:
    """Return True if a clone lacks older commits."""
    return _ask(repository, "rev-parse", "--is-shallow-repository") == "true"


def fixed_commit(repository: Path, name: str) -> str | None:
    """Return the commit of a tag or of an abbreviated hash; None for any other name, and if there is none."""
    revisions = [f"refs/tags/{name}^{{commit}}"]
    if re.fullmatch("[0-9a-f]{4,40}", name):
        revisions.append(f"{name}^{{commit}}")
    shas = (_ask(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", each) for each in revisions)
    return next(filter(None, shas), None)


def commits_between(repository: Path, base: str, head: str) -> set[str]:
    """Return the commits that a head contains and a base does not; empty if one of the two is not known."""
    return {*(_ask(repository, "rev-list", f"{base}..{head}", "--") or "").split()}


def steps_between(repository: Path, base: str, head: str) -> list[str]:
    """Return the commits after a base up to a head, the oldest first, along first parents: a merged branch is one step.

    Empty if the base is not an ancestor of the head, or one of the two is not known.
    """
    if merge_base(repository, base, head) != base:
        return []
    lines = _ask(repository, "rev-list", "--first-parent", "--reverse", f"{base}..{head}", "--")
    return (lines or "").split()


def text_at(repository: Path, commit: str, file: Path) -> str:
    """Return the text of a file of a repository at a commit; empty if the commit has no such file."""
    if not file.resolve().is_relative_to(repository.resolve()):
        return ""
    path = file.resolve().relative_to(repository.resolve()).as_posix()
    return _ask(repository, "show", "--end-of-options", f"{commit}:{path}") or ""


def is_revision(repository: Path, name: str) -> bool:
    """Return True if a repository has a revision of this name."""
    return _ask(repository, "rev-parse", "--verify", "--quiet", name) is not None


def renamed_from(repository: Path, commit: str, path: Path) -> Path | None:
    """Return the path in a commit of a file that was renamed since; None if git sees no rename."""
    options = ("--find-renames", "--diff-filter=R", "--name-status", "-z")
    fields = _listed(repository, "diff", *options, commit, "--") or []  # R087, the old path, the new path, ...
    return next((Path(old) for old, new in zip(fields[1::3], fields[2::3], strict=True) if Path(new) == path), None)


def present(repository: Path, commit: str, files: Sequence[str]) -> set[str]:
    """Return the files, relative to a repository, that a commit has; all of them if git gives no answer."""
    listed = _listed(repository, "ls-tree", "-z", "--name-only", "--full-tree", commit, "--", *files) if files else []
    return {*files} if listed is None else {*listed}


def merge_base(repository: Path, one: str, other: str) -> str | None:
    """Return the last common commit of two; None if they have none."""
    return _ask(repository, "merge-base", one, other)


def log(repository: Path, line_format: str, *arguments: str) -> list[str]:
    """Return the lines of `git log`, one for each commit; raises UserError with git's message."""
    text = _run(repository, "log", "-z", f"--format=tformat:{line_format}", *arguments, "--")
    return [writable(line) for line in text.split("\0") if line]


def subjects(repository: Path, commits: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the day and the first line of the message of each commit that a repository has.

    Days are written as 2026-01-31. Empty without a repository.
    """
    line_format = "--format=tformat:%H %cs %s"
    output = _ask(repository, "log", "-z", "--no-walk", "--ignore-missing", line_format, *commits, "--")
    lines = [writable(line).split(" ", 2) for line in (output or "").split("\0") if line]
    return {commit: (day, subject) for commit, day, subject in lines}


def web_address(repository: Path) -> str | None:
    """Return the address of the repository's page, such as https://github.com/me/mine, from its remote `origin`.

    None without such a remote, or if it is a folder.
    """
    address = _ask(repository, "remote", "get-url", "origin") or ""
    match = re.fullmatch(
        r"(?:https://(?:[^@/]*@)?|ssh://(?:[^@/]*@)?|[^@/]+@)([\w.-]+)(?::\d+)?[:/]+(.+?)(?:\.git)?/?", address
    )
    return f"https://{match[1]}/{match[2]}" if match else None


@contextmanager
def worktree(repository: Path, revision: str) -> Iterator[Path]:
    """Make a temporary worktree of a revision, always removed at the end; raises UserError with git's message.

    If this process is killed, the next one that makes a worktree of the repository removes it.
    """
    remove_abandoned()
    shared_folder = repository / _run(repository, "rev-parse", "--git-common-dir").removesuffix("\n")
    try:
        with scratch(WORKTREE) as parent:
            with _locked(shared_folder):
                _forget_removed(repository)
                _run(repository, "worktree", "add", "--quiet", "--detach", "--", str(parent / "tree"), revision)
            yield parent / "tree"
    finally:
        with _locked(shared_folder):
            _ask(repository, "worktree", "prune")  # if it fails, the next worktree prunes this one


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other rnnbench changes the worktrees of a repository: git fails on one that is half made."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that can't lock a folder, such as NFS
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _forget_removed(repository: Path) -> None:
    """Have git forget the temporary worktrees of a repository that are gone, as after a kill."""
    listed = _ask(repository, "worktree", "list", "--porcelain") or ""
    for line in listed.splitlines():
        kind, _, path = line.partition(" ")
        if kind == "worktree" and f"/{PREFIX}{WORKTREE}." in path and not Path(path).exists():
            _ask(repository, "worktree", "unlock", "--", path)  # git locks one while it makes it
    _ask(repository, "worktree", "prune")


def files(tree: Path, *, has_submodules: bool = True) -> list[str] | None:
    """Return the tracked files below a folder; None if the folder is in no repository.

    A submodule is all of its files if `has_submodules`, and otherwise one name.
    """
    return _listed(tree, "ls-files", "-z", *(["--recurse-submodules"] if has_submodules else []))


def changed_files(tree: Path, old: str, new: str | None) -> list[str] | None:
    """Return the tracked files that git tells to differ between a commit and another one, or the working tree.

    None if git fails. A submodule that differs is one name. Of a working tree, git tells nothing of files that it is
    told not to look at (`git update-index --assume-unchanged`), or that a filter cleans first.
    """
    options = ("--name-only", "-z", "--no-renames", "--ignore-submodules=none")
    return _listed(tree, "diff", *options, old, *([new] if new else []), "--")


def _run(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return its output, in which paths may hold any bytes.

    Raises UserError with what git says, or if it gives no answer in `GIT_SECONDS`.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK} | QUIET_GIT
    command = ["git", "-C", str(folder), *OFF, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, env=environment, timeout=GIT_SECONDS, capture_output=True, check=True
        )
        return os.fsdecode(done.stdout)
    except subprocess.CalledProcessError as refusal:
        fault = " ".join(refusal.stderr.decode(errors="replace").split())
    except (OSError, subprocess.TimeoutExpired) as no_answer:  # git is not installed, or hangs
        fault = str(no_answer)
    raise UserError(f"{folder}: `git {arguments[0]}` fails: {fault}")


def _ask(folder: Path, *arguments: str) -> str | None:
    """Return git's output without its last line end; None if it fails."""
    with suppress(UserError):
        return _run(folder, *arguments).removesuffix("\n")
    return None


def _listed(folder: Path, *arguments: str) -> list[str] | None:
    """Return the names in an output where each ends with a NUL; None if git fails."""
    output = _ask(folder, *arguments)
    return None if output is None else output.split("\0")[:-1]
