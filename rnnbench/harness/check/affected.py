"""Which cases of a check run the same code on both sides, so that they need not be timed.

Each side's worker tells which definitions a case may run (`rnnbench.harness.worker.reach`). A case is the same if these
are equal, and no file that is neither Python nor documentation has changed. Where in doubt, a case is timed.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rnnbench.harness.check.own_code import Tree, read_tree
from rnnbench.harness.check.sides import Side
from rnnbench.harness.machine import git

DOCUMENTS = (".md", ".rst", ".adoc", ".pyi", ".ipynb")
DOCUMENT_FOLDERS = {"docs", "doc", ".github", ".gitlab"}
DOCUMENT_NAMES = ("LICENSE", "LICENCE", "CHANGELOG", "AUTHORS", "CITATION.cff", "CODEOWNERS", ".gitignore", ".mailmap")
HARNESS = "rnnbench/harness/"  # if rnnbench itself is under test: what times all cases


@dataclass(frozen=True)
class Changed:
    """The tracked files that differ between two sides, relative to their trees."""

    python: frozenset[str]
    documents: frozenset[str]
    others: frozenset[str]  # data, compiled sources, settings

    @property
    def may_matter(self) -> bool:
        """Whether any of them may be run or read by a case."""
        return bool(self.python or self.others)


@dataclass(frozen=True)
class SameCode:
    """The cases that run the same code on both sides."""

    cases: frozenset[str] = frozenset()  # keys
    needs_guard: bool = False  # a file that was imported differs, so that one pair shall show that the time does not


def sorted_by_kind(files: Iterable[str], suite: str) -> Changed:
    """Tell Python from documentation and from other files. `suite`: its file, which is read for both sides anyway."""
    documents, python, others = set[str](), set[str](), set[str]()
    for file in files:
        path = PurePosixPath(file)
        if path.suffix == ".py":
            python.add(file)
        elif (
            path.suffix in DOCUMENTS
            or path.name.startswith(DOCUMENT_NAMES)
            or DOCUMENT_FOLDERS & set(path.parts[:-1])
            or file == suite
        ):
            documents.add(file)
        else:
            others.add(file)
    return Changed(frozenset(python), frozenset(documents), frozenset(others))


def changed_files(base: Side, head: Side) -> Changed | None:
    """The files that differ between both sides; None if more than their files differs, or if nobody knows."""
    if base.tree is None or head.tree is None or base.python != head.python or base.empty_submodules:
        return None
    if base.tree.resolve() == head.tree.resolve():
        return None
    suite = os.path.relpath(head.suite.file.resolve(), head.tree.resolve())
    if base.commit is not None:
        files = git.changed_files(head.tree, base.commit, head.commit)
        return None if files is None else sorted_by_kind(files, suite)
    trees = read_tree(base.tree), read_tree(head.tree)
    both = trees[0].files | trees[1].files
    return sorted_by_kind((file for file in both if not _is_equal(trees, file)), suite)


def _is_equal(trees: tuple[Tree, Tree], file: str) -> bool:
    one, other = (tree.root / file for tree in trees)
    try:
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:  # a side lacks it, or it is a folder
        return False


@dataclass(frozen=True)
class Used:
    """What a side's workers used of its tree, as paths below it."""

    imported: frozenset[str]
    opened: frozenset[str]
    has_untracked: bool = False  # of both, a file that git does not track

    @classmethod
    def of(cls, side: Side, imported: Iterable[str], opened: Iterable[str]) -> "Used":
        """Sort the files that a side's workers told of."""
        assert side.tree is not None
        tree = read_tree(side.tree)
        modules, read = (
            frozenset(path.relative_to(tree.root).as_posix() for path in map(_resolved, files) if tree.has(path))
            for files in (imported, opened)
        )
        return cls(modules, read - modules, not modules | read <= tree.files)


def _resolved(file: str) -> Path:
    return Path(file).resolve()


def same_code(
    changed: Changed,
    used: Iterable[Used],
    reached: Mapping[str, Mapping[str, Any]] | None,
    cases: Iterable[str],
) -> SameCode:
    """Return the cases (keys) that run the same code on both sides.

    `used`, of both sides; `reached`: for each case, the replies of both sides about what it may run; None if nobody was
    asked, since only documentation has changed.
    """
    sides = list(used)
    imported = frozenset[str]().union(*(side.imported for side in sides))
    opened = frozenset[str]().union(*(side.opened for side in sides))
    data = changed.others | ((changed.documents | changed.python) & opened)
    data |= {file for file in changed.python & imported if file.startswith(HARNESS)}
    if data or any(side.has_untracked for side in sides):
        return SameCode()
    if reached is None:
        return SameCode(frozenset(cases))
    same = frozenset(key for key in cases if _is_same(changed, [*reached.get(key, {}).values()]))
    return SameCode(same, needs_guard=bool(changed.python & imported))


def _is_same(changed: Changed, replies: list[Any]) -> bool:
    """Whether both sides know what they may run, and that this is the same."""
    if len(replies) < 2 or not all(reply["ok"] and not reply["doubts"] for reply in replies):
        return False
    may_import = any(reply["may_import"] for reply in replies) and changed.python
    one, other = (reply["code"] for reply in replies)
    return not may_import and bool(one == other)
