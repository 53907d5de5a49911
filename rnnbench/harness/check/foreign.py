"""Whether each side of a check was measured with its own code, by the files that its workers imported."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rnnbench.harness.machine import git
from rnnbench.store.regular_files import read_bytes

INSTALLED = {"site-packages", "dist-packages"}
# Folders of a tree that hold other projects' code, or copies of the tree's own: a module there is not what is meant.
COPIES = INSTALLED | {"__pycache__", "build", "dist", "node_modules"}
COPIES |= {"vendor", "vendored", "_vendor", "third_party", "thirdparty", "extern", "external"}
SOURCES = (".py", ".pyx")


@dataclass(frozen=True)
class Tree:
    """The code of one side."""

    root: Path
    files: frozenset[str]  # relative to it

    def has(self, file: Path) -> bool:
        """Whether a file lies in this folder, and not in an environment within it."""
        return file.is_relative_to(self.root) and not INSTALLED & set(file.relative_to(self.root).parts)

    def owns(self, file: Path, other: "Tree | None") -> bool:
        """Whether a file is this side's, where one of the two trees may lie in the other."""
        is_others = other is not None and other.root.is_relative_to(self.root) and other.has(file)
        return self.has(file) and not is_others


@dataclass(frozen=True)
class Foreign:
    """A module that was not imported from the tree that contains it."""

    module: str
    file: Path  # that was imported
    own: str  # the tree's own, relative to it

    @property
    def folder(self) -> str:
        """The folder of the tree that it would have to be imported from."""
        file = PurePosixPath(self.own)
        path = file.parent if file.stem == "__init__" else file.with_suffix("")
        is_named = path.parts[-len(self.module.split(".")) :] == tuple(self.module.split("."))
        return str(PurePosixPath(*path.parts[: -len(self.module.split("."))])) if is_named else str(file.parent)


def read_tree(root: Path) -> Tree:
    """The files that a repository tracks, those of its submodules included; of another folder, all but hidden ones.

    Also where git refuses to work in the repository, another user's for example.
    """
    root = root.resolve()
    tracked = git.files(root) if (root / ".git").exists() else None
    if tracked is None:
        return Tree(root, frozenset(_walk(root, root)))
    inside = (file for folder in git.submodules(root) for file in _walk(folder, root))
    return Tree(root, frozenset((*tracked, *inside)))


def foreign(imported: Mapping[str, Path], tree: Tree, other: Tree | None) -> list[Foreign]:
    """The modules that were imported from elsewhere though the tree contains them.

    `imported`: a side's modules by name, each with its resolved file; `other`: the other side's tree, if it is another.
    A module from the other tree is foreign if the tree has a file of the same path or a module of the same name.
    From anywhere else, such as an installed copy, only the name can tell, and more has to agree: see `_is_meant`.
    """
    modules = _modules(tree.files)
    found: list[Foreign] = []
    elsewhere: dict[str, dict[str, Path]] = defaultdict(dict)  # package -> its modules
    for name, file in imported.items():
        if tree.owns(file, other):
            continue
        if other is not None and other.has(file):
            path = str(file.relative_to(other.root))
            own = path if path in tree.files else modules.get(name)
            found += [] if own is None else [Foreign(name, file, own)]
        else:
            elsewhere[name.partition(".")[0]][name] = file
    for package in elsewhere.values():
        known = [Foreign(name, file, modules[name]) for name, file in package.items() if name in modules]
        if _is_meant(known, package, tree):
            found += known
    return found


def _is_meant(known: list[Foreign], package: Mapping[str, Path], tree: Tree) -> bool:
    """Whether an installed package is the tree's own, and not another one of the same name (`utils`, `tests`).

    The tree has at least half of the modules that were imported of it. A lone file, whose name says little, has the
    same content or lies in a folder of the same name.
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
    """Every name that a module of a tree can be imported by, from a folder that is no package itself; and its file."""
    sources = [PurePosixPath(file) for file in sorted(files) if file.endswith(SOURCES)]
    packages = {file.parent for file in sources if file.stem == "__init__"}
    found: dict[str, str] = {}
    for file in sources:
        if any(part in COPIES or part.startswith(".") for part in file.parts):
            continue
        module = file.parent if file.stem == "__init__" else file.with_suffix("")
        for depth, folder in enumerate(reversed([*module.parents])):
            if folder not in packages:
                found.setdefault(".".join(module.parts[depth:]), str(file))
    return found


def _walk(folder: Path, root: Path) -> Iterable[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in COPIES]
        if "pyvenv.cfg" in files:  # a virtual environment
            folders.clear()
        else:
            yield from (str((Path(place) / name).relative_to(root)) for name in files)
