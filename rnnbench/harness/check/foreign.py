"""Tell from the files that workers imported whether each side of a check was measured with its own code."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rnnbench.harness.machine import git
from rnnbench.store.regular_files import read_bytes

INSTALLED = {"site-packages", "dist-packages"}
# Folders of a tree with other projects' code, or with copies of the tree's own. Modules in them are not the tree's.
COPIES = INSTALLED | {"__pycache__", "build", "dist", "node_modules"}
COPIES |= {"vendor", "vendored", "_vendor", "third_party", "thirdparty", "extern", "external"}
SOURCES = (".py", ".pyx")


@dataclass(frozen=True)
class Tree:
    """The code of one side."""

    root: Path
    files: frozenset[str]  # relative to the root

    def has(self, file: Path) -> bool:
        """Whether a file lies in this folder, but not in an environment within it."""
        return file.is_relative_to(self.root) and not INSTALLED & set(file.relative_to(self.root).parts)

    def tracks(self, file: Path) -> bool:
        """Whether a file in this folder is one of those that were read."""
        return str(file.relative_to(self.root)) in self.files

    def owns(self, file: Path, other: "Tree | None") -> bool:
        """Whether a file belongs to this side; one of the two trees may lie in the other."""
        is_others = other is not None and other.root.is_relative_to(self.root) and other.has(file)
        return self.has(file) and not is_others


@dataclass(frozen=True)
class Foreign:
    """A module that was not imported from the tree that contains it."""

    module: str
    file: Path  # the one that was imported
    own: str  # the tree's own file, relative to its root

    @property
    def folder(self) -> str:
        """The folder of the tree that the module should have been imported from."""
        file = PurePosixPath(self.own)
        path = file.parent if file.stem == "__init__" else file.with_suffix("")
        is_named = path.parts[-len(self.module.split(".")) :] == tuple(self.module.split("."))
        return str(PurePosixPath(*path.parts[: -len(self.module.split("."))])) if is_named else str(file.parent)


def read_tree(root: Path) -> Tree:
    """Read which files a tree has: those that git tracks, including those of submodules.

    In a folder that is no repository, or in which git refuses to work (for example another user's), the tree has all
    files outside of hidden folders, environments and `COPIES`.
    """
    root = root.resolve()
    tracked = git.files(root) if (root / ".git").exists() else None
    if tracked is None:
        return Tree(root, frozenset(_walk(root, root)))
    inside = (file for folder in git.submodules(root) for file in _walk(folder, root))
    return Tree(root, frozenset((*tracked, *inside)))


def foreign(imported: Mapping[str, Path], tree: Tree, other: Tree | None) -> list[Foreign]:
    """The modules that were imported from elsewhere though the tree contains them.

    `imported`: a side's modules by name, each with its resolved file; `other`: the other side's tree, if it differs.
    A module from the other tree is foreign if the tree has a file of the same path or a module of the same name.
    For a module from anywhere else, such as an installed copy, only the name can tell, so more must agree: see
    `_is_meant`.
    """
    modules = _modules(tree.files)
    strays: list[Foreign] = []
    elsewhere: dict[str, dict[str, Path]] = defaultdict(dict)  # package -> its modules
    for name, file in imported.items():
        if tree.owns(file, other):
            continue
        if other is not None and other.has(file):
            path = str(file.relative_to(other.root))
            own = path if path in tree.files else modules.get(name)
            strays += [] if own is None else [Foreign(name, file, own)]
        else:
            elsewhere[name.partition(".")[0]][name] = file
    for package in elsewhere.values():
        known = [Foreign(name, file, modules[name]) for name, file in package.items() if name in modules]
        if _is_meant(known, package, tree):
            strays += known
    return strays


def _is_meant(known: list[Foreign], package: Mapping[str, Path], tree: Tree) -> bool:
    """Whether an installed package is the tree's own, and not another one of the same name (`utils`, `tests`).

    The tree must have at least half of the modules that were imported from the package. The name of a lone file says
    little, so it must also have the same content or lie in a folder of the same name.
    """
    if not known or 2 * len(known) < len(package):
        return False
    [*others, first] = known
    if others or "." in first.module or first.own.endswith("__init__.py"):
        return True
    own = tree.root / first.own
    return first.file.parent.name == own.parent.name or _content(first.file) == _content(own)


def _content(file: Path) -> bytes | None:
    try:
        return read_bytes(file)
    except OSError:  # it is gone, or in an archive
        return None


def _modules(files: Iterable[str]) -> dict[str, str]:
    """Map each name by which a module can be imported, from a folder that is not a package, to the module's file."""
    sources = [PurePosixPath(file) for file in sorted(files) if file.endswith(SOURCES)]
    packages = {file.parent for file in sources if file.stem == "__init__"}
    modules: dict[str, str] = {}
    for file in sources:
        if any(part in COPIES or part.startswith(".") for part in file.parts):
            continue
        module = file.parent if file.stem == "__init__" else file.with_suffix("")
        for depth, folder in enumerate(reversed([*module.parents])):
            if folder not in packages:
                modules.setdefault(".".join(module.parts[depth:]), str(file))
    return modules


def _walk(folder: Path, root: Path) -> Iterable[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in COPIES]
        if "pyvenv.cfg" in files:  # a virtual environment
            folders.clear()
        else:
            yield from (str((Path(parent) / name).relative_to(root)) for name in files)
