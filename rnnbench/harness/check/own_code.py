"""Refuse a check whose sides were not measured with their own code."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from rnnbench.cells.loading import USER_MODULE
from rnnbench.errors import UserError
from rnnbench.harness.check.foreign import Foreign, Tree, foreign, read_tree
from rnnbench.harness.check.sides import Side
from rnnbench.text import first_few, plural

Modules = Mapping[str, str]  # a module's name -> its file
SHOWN = 2  # modules that an error names


class ForeignModules(UserError):
    """A side would be measured with modules that are not its own."""


def refuse_foreign(
    base: Side,
    head: Side,
    imported: Mapping[str, Modules],
    opened: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> None:
    """Raise UserError if a side used files of the other side's tree, or modules from elsewhere that its tree contains.

    By each side's name: `imported`, the modules that its workers imported; `opened`, the files that they opened.
    """
    trees = _trees(base, head)
    for side, other in ((base, head), (head, base)):
        if side.name in trees:
            tree, another = trees[side.name], _another(trees, side, other)
            modules = _under_test(side, imported[side.name])
            if strays := foreign(modules, tree, another):
                raise ForeignModules(_told(side, strays))
            for file in {Path(file).resolve() for file in opened.get(side.name, ())} - {*modules.values()}:
                if another and another.has(file) and not tree.owns(file, another) and another.tracks(file):
                    raise UserError(
                        f"{side.name} {side.about}: {other.in_words(str(file))} of the {other.name} was opened. Both "
                        "sides would read the same file. Name it relative to the code that reads it, or to the "
                        "current folder."
                    )


def untracked(base: Side, head: Side, imported: Mapping[str, Modules]) -> list[str]:
    """Notes about modules of one side that git does not track and that the other side lacks."""
    trees, notes = _trees(base, head), []
    for side, other in ((base, head), (head, base)):
        own = trees.get(side.name)
        another = _another(trees, side, other) if own else None
        if own is not None and another is not None:
            files = sorted({*_under_test(side, imported[side.name]).values()})
            paths = [file.relative_to(own.root) for file in files if own.owns(file, another) and not own.tracks(file)]
            names = [str(path) for path in paths if not (another.root / path).exists()]
            if names:
                notes.append(
                    f"{side.name}: imported {first_few(names, SHOWN)}, which git does not track and the {other.name} "
                    "lacks: the sides differ by more than their commits"
                )
    return notes


def refuse_equal(base: Side, head: Side, imported: Mapping[str, Modules]) -> None:
    """Raise UserError if no file of either tree was imported: both sides ran the same code.

    Does not judge two interpreters with the same files, or a side whose rnnbench does not report its modules.
    """
    trees = _trees(base, head)
    if len({tree.root for tree in trees.values()}) < len((base, head)) or not all(imported.values()):
        return
    for side, other in ((base, head), (head, base)):
        tree, another = trees[side.name], _another(trees, side, other)
        if any(tree.owns(file, another) for file in _under_test(side, imported[side.name]).values()):
            return
    raise UserError(
        f"{head.suite.file}: nothing differs between base {base.about} and head {head.about}: no case imported a "
        f"file from {trees[head.name].root}; name cells of the code that you want to compare"
    )


def _trees(base: Side, head: Side) -> dict[str, Tree]:
    roots = {side.name: side.tree for side in (base, head) if side.tree is not None}
    read = {root: read_tree(root) for root in set(roots.values())}
    return {name: read[root] for name, root in roots.items()}


def _another(trees: Mapping[str, Tree], side: Side, other: Side) -> Tree | None:
    """The other side's tree; None if it has none, or the same one."""
    tree = trees.get(other.name)
    return None if tree is None or tree.root == trees[side.name].root else tree


def _under_test(side: Side, modules: Modules) -> dict[str, Path]:
    """A side's modules with their resolved files; those of rnnbench only if the side has its own."""
    return {
        name: Path(file).resolve()
        for name, file in modules.items()
        if side.holds_rnnbench or name.partition(".")[0] != "rnnbench"
    }


def _told(side: Side, strays: list[Foreign]) -> str:
    assert side.tree is not None
    lines = [
        f"{side.name} {side.about}: {_name(stray)} was imported from {stray.file}, though the {side.name} has its own: "
        f"{side.in_words(str(side.tree / stray.own))}"
        for stray in strays[:SHOWN]
    ]
    if len(strays) > SHOWN:
        lines.append(
            f"{plural(len(strays) - SHOWN, 'more module')} {'was' if len(strays) == SHOWN + 1 else 'were'} too"
        )
    return "\n".join([*lines, _remedy(strays[0])])


def _name(stray: Foreign) -> str:
    return "a cell's file" if stray.module.startswith(USER_MODULE) else stray.module


def _remedy(stray: Foreign) -> str:
    if stray.module.startswith(USER_MODULE):
        return "Both sides would run the same file. In the suite, give its path relative to the suite."
    return (
        "The check would have measured the wrong code. It imports modules from the project nearest to the suite and "
        "from the top of the repository, each with its src/, before PYTHONPATH and installed packages: add "
        f"{stray.folder}/ as a source of modules."
    )
