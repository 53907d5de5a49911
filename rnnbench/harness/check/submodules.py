"""Check out the submodules of a temporary worktree, which `git worktree add` leaves empty."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from rnnbench.harness.machine import git


@dataclass(frozen=True)
class Submodule:
    """A submodule of one commit."""

    path: str  # in the tree of that commit
    commit: str
    name: str | None  # of its folder in `.git/modules`, if `.gitmodules` gives one


def fill(repository: Path, commit: str, tree: Path) -> list[str]:
    """Check out the submodules of `commit` into `tree`, its worktree; returns the paths of those that stay empty.

    Downloads nothing, and touches neither the repository nor its index. A submodule stays empty if its commit is not
    on this machine: neither in `.git/modules` nor in the user's own checkout of it. Raises NoAnswer.
    """
    common = git.folder_of(repository, "--git-common-dir")
    indexes = (tree.parent / f"index-{number}" for number in count())
    return [] if common is None else _fill(common, commit, repository, tree, indexes)


def _fill(git_dir: Path, commit: str, checkout: Path, tree: Path, indexes: Iterable[Path]) -> list[str]:
    """Do the same as `fill`, recursively; the user may have checked submodules out below `checkout`."""
    empty = []
    indexes = iter(indexes)
    for submodule in _submodules(git_dir, commit):
        folder, own = tree / submodule.path, checkout / submodule.path
        candidates = _git_dirs(git_dir, own, submodule.name)
        source = next((candidate for candidate in candidates if _has(candidate, submodule.commit)), None)
        is_inside = folder.is_dir() and folder.resolve().is_relative_to(tree.resolve())
        if source is None or not is_inside or not _check_out(source, submodule.commit, folder, next(indexes)):
            empty.append(submodule.path)
        else:
            below = _fill(source, submodule.commit, own, folder, indexes)
            empty += [f"{submodule.path}/{path}" for path in below]
    return empty


def _submodules(git_dir: Path, commit: str) -> list[Submodule]:
    listed = _run(git_dir, git_dir, "ls-tree", "-r", "-z", commit)
    entries = [line.partition("\t") for line in os.fsdecode(listed.stdout).split("\0")[:-1]]
    links = {path: about.split()[2] for about, _, path in entries if about.startswith("160000 ")}
    if not links:
        return []
    names = _names(git_dir, commit)
    return [Submodule(path, linked, names.get(path)) for path, linked in links.items()]


def _names(git_dir: Path, commit: str) -> dict[str, str]:
    """The names of submodules by their paths, from the `.gitmodules` of a commit."""
    keys = r"^submodule\..*\.path$"
    listed = _run(git_dir, git_dir, "config", "-z", f"--blob={commit}:.gitmodules", "--get-regexp", keys)
    names = {}
    for entry in os.fsdecode(listed.stdout).split("\0")[:-1]:
        key, _, path = entry.partition("\n")
        name = key.removeprefix("submodule.").removesuffix(".path")
        if ".." not in PurePosixPath(name).parts and not name.startswith("/"):
            names[path] = name
    return names


def _git_dirs(git_dir: Path, own: Path, name: str | None) -> Iterable[Path]:
    """The repositories that may hold a submodule's commit."""
    checked_out = git.folder_of(own, "--absolute-git-dir") if (own / ".git").exists() else None
    if checked_out is not None:
        yield checked_out
    if name and (kept := git_dir / "modules" / name).is_dir():
        yield kept


def _has(source: Path, commit: str) -> bool:
    return _run(source, source, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def _check_out(source: Path, commit: str, folder: Path, index: Path) -> bool:
    """Write the files of a commit into a folder, using a separate index; returns False if some are missing."""
    write = ("read-tree", "--reset", "-u", "--no-sparse-checkout", "--no-recurse-submodules", commit)
    return _run(source, folder, *write, GIT_INDEX_FILE=str(index)).returncode == 0


def _run(git_dir: Path, tree: Path, *arguments: str, **variables: str) -> git.Done:
    """Run git in a repository, whatever working tree its own configuration names."""
    return git.run(tree, *arguments, GIT_DIR=str(git_dir), GIT_WORK_TREE=str(tree), **variables)
