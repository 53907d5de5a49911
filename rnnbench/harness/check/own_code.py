"""Refuse a check whose sides were not measured with their own code."""

from collections.abc import Mapping
from pathlib import Path

from rnnbench.cells import USER_MODULE
from rnnbench.errors import UserError
from rnnbench.harness.check.foreign import Foreign, Tree, foreign, read_tree
from rnnbench.harness.check.sides import Side

Modules = Mapping[str, str]  # a module's name -> its file
SHOWN = 2  # modules that an error names


def refuse_foreign(base: Side, head: Side, imported: Mapping[str, Modules]) -> None:
    """Raise UserError where modules of a side came from outside of its tree though the tree contains them.

    `imported`: by the side's name, the modules that its workers imported to observe the cases.
    """
    trees = _trees(base, head)
    for side, other in ((base, head), (head, base)):
        if side.name in trees:
            found = foreign(_under_test(side, imported[side.name]), trees[side.name], _another(trees, side, other))
            if found:
                raise UserError(_told(side, found))


def refuse_equal(base: Side, head: Side, imported: Mapping[str, Modules]) -> None:
    """Raise UserError where no file of either tree was imported: both sides ran the same code.

    Nothing is said of two interpreters with the same files, nor where a side's rnnbench does not tell its modules.
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
    """The other side's tree, unless it is the same."""
    tree = trees.get(other.name)
    return None if tree is None or tree.root == trees[side.name].root else tree


def _under_test(side: Side, modules: Modules) -> dict[str, Path]:
    """A side's modules, resolved; those of rnnbench only where they are to be its own."""
    return {
        name: Path(file).resolve()
        for name, file in modules.items()
        if side.holds_rnnbench or name.partition(".")[0] != "rnnbench"
    }


def _told(side: Side, found: list[Foreign]) -> str:
    assert side.tree is not None
    lines = [
        f"{side.name} {side.about}: {_name(one)} was imported from {one.file}, though the {side.name} has its own: "
        f"{side.in_words(str(side.tree / one.own))}"
        for one in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        lines.append(f"and so were {len(found) - SHOWN:,} more modules")
    return "\n".join([*lines, _remedy(found[0])])


def _name(one: Foreign) -> str:
    return "a cell's file" if one.module.startswith(USER_MODULE) else one.module


def _remedy(one: Foreign) -> str:
    if one.module.startswith(USER_MODULE):
        return "Both sides would run the same file. In the suite, name it by its path relative to the suite."
    return (
        "The check would have measured other code than it names. Each side's top folder and src/ are searched before "
        "PYTHONPATH and installed packages: move the package there, or name the cell as FILE:CLASS in a file that "
        f"begins with sys.path.insert(0, FOLDER), where FOLDER is {one.folder}/ as found from __file__."
    )
