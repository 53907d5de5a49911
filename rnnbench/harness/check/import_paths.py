"""Where a side of a check imports from: its own rnnbench if it has one, and its own modules."""

from collections.abc import Sequence
from pathlib import Path

from rnnbench.errors import UserError

PACKAGE = Path("rnnbench/__init__.py")
WORKER = Path("rnnbench/harness/worker/loop.py")
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


def import_paths(tree: Path | None, suite_file: Path, package: Path, sources: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The folders that a worker imports from first.

    They are the folder of rnnbench (that of the side's own, or `package`); then `sources`, folders below `tree`; then
    the project nearest to the suite and the top of the tree, each with its `src` first. `tree`: the folder with the
    side's code; None if there is none. Raises UserError if the tree has no such source, or an rnnbench that is too old.
    """
    if tree is None:
        return (package,)
    code = tree if (tree / WORKER).is_file() else package
    if (tree / PACKAGE).is_file() and code != tree:  # with the other side's rnnbench it would seem unchanged
        raise UserError(f"{tree}: its rnnbench is too old: it has no {WORKER}; choose a revision with this file")
    for source in sources:
        if not (tree / source).is_dir():
            raise UserError(f"source {source}: {tree} has no such folder; give one that both sides have")
    project = nearest_project(tree, suite_file)
    own = [folder for place in (project, tree) for folder in (place / "src", place) if folder.is_dir()]
    return tuple(dict.fromkeys((code, *(tree / source for source in sources), *own)))


def nearest_project(tree: Path, suite_file: Path) -> Path:
    """The folder of the project that a suite belongs to: the nearest one above it with a `pyproject.toml` or the like.

    It is the top of the tree if no folder between has one, or if the suite lies outside of it.
    """
    top, folder = tree.resolve(), suite_file.resolve().parent
    while folder.is_relative_to(top) and folder != top:
        if any((folder / name).is_file() for name in PROJECT_FILES):
            return folder
        folder = folder.parent
    return tree


def below(top: Path | None, given: str) -> Path:
    """A source folder, given from the current folder, as a path below the top of the repository.

    Raises UserError if it is no folder, or lies outside of the repository.
    """
    folder = Path(given).resolve()
    if not folder.is_dir():
        raise UserError(f"source {given}: no such folder; expected one that modules are imported from")
    if top is None or not folder.is_relative_to(top.resolve()):
        where = "there is no repository" if top is None else f"it is not below {top}"
        raise UserError(f"source {given}: {where}, so the base has no such folder")
    return folder.relative_to(top.resolve())
