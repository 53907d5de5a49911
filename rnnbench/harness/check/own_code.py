"""Which files are a side's own code, and refusals of checks whose sides were not measured with their own."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from rnnbench.cells.loading import USER_MODULE
from rnnbench.errors import UserError
from rnnbench.harness.check.sides import Side
from rnnbench.harness.machine import git
from rnnbench.store.folder import is_check
from rnnbench.text import first_few, plural

Modules = Mapping[str, str]  # a module's name -> its file
SHOWN = 2  # modules that an error names
INSTALLED = {"site-packages", "dist-packages"}
# Folders of a tree with other projects' code, or with copies of the tree's own. Modules in them are not the tree's.
COPIES = INSTALLED | {"__pycache__", "build", "dist", "node_modules"}
COPIES |= {"vendor", "vendored", "_vendor", "third_party", "thirdparty", "extern", "external"}
SOURCES = (".py", ".pyx")


class ForeignModules(UserError):
    """A side would be measured with modules that are not its own."""


@dataclass(frozen=True)
class Tree:
    """The code of one side."""

    root: Path
    files: frozenset[str]  # those that git tracks, relative to the root

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


def read_tree(root: Path) -> Tree:
    """Read which files a tree has: those that git tracks, including those of submodules.

    In a folder that is no repository, or in which git refuses to work (for example another user's), the tree has all
    files outside of hidden folders, environments, runs and `COPIES`.
    """
    root = root.resolve()
    tracked = git.files(root) if (root / ".git").exists() else None
    if tracked is None:
        return Tree(root, frozenset(_walk(root, root)))
    inside = (file for folder in git.submodules(root) for file in _walk(folder, root))
    return Tree(root, frozenset((*tracked, *inside)))


def refuse_foreign(
    base: Side,
    head: Side,
    imported: Mapping[str, Modules],
    opened: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> None:
    """Raise UserError if a side used files of the other side's tree, or modules from elsewhere that its tree contains.

    By each side's name: `imported`, the modules that its workers imported; `opened`, the files that they opened.
    """
    for side, other, tree, another in _trees(base, head):
        modules = _under_test(side, imported[side.name])
        if strays := list(_strays(modules, tree, another)):
            raise ForeignModules(_told(side, strays))
        for file in {Path(file).resolve() for file in opened.get(side.name, ())} - {*modules.values()}:
            if another and another.has(file) and not tree.owns(file, another) and another.tracks(file):
                raise UserError(
                    f"{side.name} {side.about}: {other.in_words(str(file))} of the {other.name} was opened. Both "
                    "sides would read the same file. Name it relative to the code that reads it, or to the "
                    "current folder."
                )


def untracked(base: Side, head: Side, imported: Mapping[str, Modules]) -> list[str]:
    """Return notes about modules of one side that git does not track and that the other side lacks."""
    notes = []
    for side, other, tree, another in _trees(base, head):
        files = sorted({*_under_test(side, imported[side.name]).values()}) if another else []
        paths = [file.relative_to(tree.root) for file in files if tree.owns(file, another) and not tree.tracks(file)]
        if names := [str(path) for path in paths if another and not (another.root / path).exists()]:
            notes.append(
                f"{side.name}: imported {first_few(names, SHOWN)}, which git does not track and the {other.name} "
                "lacks: the sides differ by more than their commits"
            )
    return notes


def refuse_equal(base: Side, head: Side, imported: Mapping[str, Modules]) -> None:
    """Raise UserError if no file of either tree was imported: both sides ran the same code.

    Does not judge two interpreters with the same files, or a side whose rnnbench does not report its modules.
    """
    trees = list(_trees(base, head))
    if not all(another for *_, another in trees) or len(trees) < len((base, head)) or not all(imported.values()):
        return
    for side, _, tree, another in trees:
        if any(tree.owns(file, another) for file in _under_test(side, imported[side.name]).values()):
            return
    raise UserError(
        f"{head.suite.file}: nothing differs between base {base.about} and head {head.about}: no case imported a "
        f"file from {trees[1][2].root}; name cells of the code that you want to compare"
    )


def _trees(base: Side, head: Side) -> Iterator[tuple[Side, Side, Tree, Tree | None]]:
    """Yield each side that has a tree, with the other one and with both trees; that of the other only if it differs."""
    read = {side.tree: read_tree(side.tree) for side in (head, base) if side.tree is not None}
    for side, other in ((base, head), (head, base)):
        if side.tree is not None:
            another = None if other.tree is None else read[other.tree]
            yield side, other, read[side.tree], None if another is read[side.tree] else another


def _under_test(side: Side, modules: Modules) -> dict[str, Path]:
    """Return a side's modules with their resolved files; those of rnnbench only if the side has its own."""
    return {
        name: Path(file).resolve()
        for name, file in modules.items()
        if side.holds_rnnbench or name.partition(".")[0] != "rnnbench"
    }


def _strays(imported: Mapping[str, Path], tree: Tree, other: Tree | None) -> Iterator[tuple[str, Path, str]]:
    """Yield the modules of which the tree has one of the same name, and whose files are not the tree's.

    Each with the file that was imported and the tree's own. A cell's file has no name of its own: the file at the same
    path counts. An installed package of which the tree has less than half is another one (`tests/torch/`), and so is a
    package where the tree has a module (`utils/` and `utils.py`), or one of Python's own.
    """
    own_modules = _modules(tree.files)
    elsewhere = {name: file for name, file in imported.items() if not tree.owns(file, other)}
    sizes = Counter(name.partition(".")[0] for name in elsewhere)
    known = Counter(name.partition(".")[0] for name in elsewhere if name in own_modules)
    for name, file in elsewhere.items():
        top, own, is_others = name.partition(".")[0], own_modules.get(name), other is not None and other.has(file)
        if is_others and own is None and other is not None:
            path = str(file.relative_to(other.root))
            own = path if path in tree.files else None
        is_meant = is_others or (2 * known[top] >= sizes[top] and top not in sys.stdlib_module_names)
        if own is not None and is_meant and (PurePosixPath(own).stem == "__init__") == (file.stem == "__init__"):
            yield name, file, own


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


def _walk(folder: Path, root: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in COPIES]
        # A virtual environment, or what rnnbench has measured, such as this check.
        if "pyvenv.cfg" in files or "run.json" in files or is_check(Path(parent)):
            folders.clear()
        else:
            yield from (str((Path(parent) / name).relative_to(root)) for name in files)


def _told(side: Side, strays: list[tuple[str, Path, str]]) -> str:
    is_file = strays[0][0].startswith(USER_MODULE)
    lines = [
        f"{side.name} {side.about}: {'a file of a cell' if is_file else name} was imported from {file}, "
        f"though the {side.name} has its own: {side.in_words(f'{side.tree}/{own}')}"
        for name, file, own in strays[:SHOWN]
    ]
    if more := strays[SHOWN:]:
        lines.append(f"{plural(len(more), 'more module')} {'was' if len(more) == 1 else 'were'} too")
    if is_file:
        return "\n".join([*lines, "Both sides would run one file. In the suite, give its path relative to the suite."])
    name, _, own = strays[0]
    file, parts = PurePosixPath(own), tuple(name.split("."))
    path = file.parent if file.stem == "__init__" else file.with_suffix("")
    source = PurePosixPath(*path.parts[: -len(parts)]) if path.parts[-len(parts) :] == parts else file.parent
    remedy = (
        "The check would have measured the wrong code. It imports modules from the project nearest to the suite and "
        "from the top of the repository, each with its src/, before PYTHONPATH and installed packages: add "
        f"{source}/ as a source of modules."
    )
    return "\n".join([*lines, remedy])
