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
    name: str  # of its folder in `.git/modules`; empty where `.gitmodules` gives none


def fill(repository: Path, commit: str, tree: Path) -> list[str]:
    """Check out the submodules of `commit` into `tree`, its worktree; the paths of those that stay empty.

    Nothing is downloaded, and neither the repository nor its index is touched: a submodule stays empty where its
    commit is not on this machine, in `.git/modules` or in the user's own checkout of it. Raises NoAnswer.
    """
    common = git.folder_of(repository, "--git-common-dir")
    indexes = (tree.parent / f"index-{number}" for number in count())
    return [] if common is None else _fill(common, commit, repository, tree, indexes)


def _fill(git_dir: Path, commit: str, checkout: Path, tree: Path, indexes: Iterable[Path]) -> list[str]:
    """The same for the commit of a repository, whose submodules the user may have below `checkout`."""
    empty = []
    indexes = iter(indexes)
    for submodule in _submodules(git_dir, commit):
        place, own = tree / submodule.path, checkout / submodule.path
        source = next((one for one in _git_dirs(git_dir, own, submodule.name) if _has(one, submodule.commit)), None)
        is_inside = place.is_dir() and place.resolve().is_relative_to(tree.resolve())
        if source is None or not is_inside or not _check_out(source, submodule.commit, place, next(indexes)):
            empty.append(submodule.path)
        else:
            below = _fill(source, submodule.commit, own, place, indexes)
            empty += [f"{submodule.path}/{path}" for path in below]
    return empty


def _submodules(git_dir: Path, commit: str) -> list[Submodule]:
    listed = _run(git_dir, git_dir, "ls-tree", "-r", "-z", commit)
    entries = [line.partition("\t") for line in os.fsdecode(listed.stdout).split("\0")[:-1]]
    links = {path: about.split()[2] for about, _, path in entries if about.startswith("160000 ")}
    if not links:
        return []
    names = _names(git_dir, commit)
    return [Submodule(path, linked, names.get(path, "")) for path, linked in links.items()]


def _names(git_dir: Path, commit: str) -> dict[str, str]:
    """The submodules' names by their paths, as `.gitmodules` of a commit has them."""
    keys = r"^submodule\..*\.path$"
    told = _run(git_dir, git_dir, "config", "-z", f"--blob={commit}:.gitmodules", "--get-regexp", keys)
    found = {}
    for entry in os.fsdecode(told.stdout).split("\0")[:-1]:
        key, _, path = entry.partition("\n")
        name = key.removeprefix("submodule.").removesuffix(".path")
        if ".." not in PurePosixPath(name).parts and not name.startswith("/"):
            found[path] = name
    return found


def _git_dirs(git_dir: Path, own: Path, name: str) -> Iterable[Path]:
    """The repositories that may hold a submodule's commit."""
    checked_out = git.folder_of(own, "--absolute-git-dir") if (own / ".git").exists() else None
    if checked_out is not None:
        yield checked_out
    if name and (kept := git_dir / "modules" / name).is_dir():
        yield kept


def _has(source: Path, commit: str) -> bool:
    return _run(source, source, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def _check_out(source: Path, commit: str, place: Path, index: Path) -> bool:
    """Write the files of a commit into a folder, by an index of its own; False where some are missing."""
    write = ("read-tree", "--reset", "-u", "--no-sparse-checkout", "--no-recurse-submodules", commit)
    return _run(source, place, *write, GIT_INDEX_FILE=str(index)).returncode == 0


def _run(git_dir: Path, tree: Path, *arguments: str, **variables: str) -> git.Done:
    """Ask a repository, wherever its own configuration says that its working tree is."""
    return git.run(tree, *arguments, GIT_DIR=str(git_dir), GIT_WORK_TREE=str(tree), **variables)
