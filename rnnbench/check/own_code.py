"""Which files are a side's own, and refusals of checks that would not measure them."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from rnnbench.cells import USER_MODULE
from rnnbench.check.sides import COPIED_FOLDERS, PACKAGE_FILE, Side
from rnnbench.errors import UserError

Modules = Mapping[str, str]  # a module's name -> its file
SOURCES = (".py", ".pyx")


def refuse_foreign(
    base: Side, head: Side, imported: Mapping[str, Modules], opened: Mapping[str, Iterable[str]]
) -> None:
    """Raise UserError if a side used files of the other side's tree, or modules from elsewhere that its tree contains.

    By each side's name: `imported`, the modules that its workers imported; `opened`, the files that they opened.
    """
    for side, other in ((base, head), (head, base)):
        modules = _under_test(side, imported[side.name])
        if stray := next(_strays(modules, side, other), None):
            raise UserError(_message(side, *stray))
        for file in {Path(file).resolve() for file in opened.get(side.name, ())} - {*modules.values()}:
            if other.path(file, side) in other.files and not side.path(file, other):
                raise UserError(
                    f"{side.name} {side.about}: {other.in_words(str(file))} of the {other.name} was opened. Both "
                    "sides would read the same file. Name it relative to the code that reads it, or to the current "
                    "folder."
                )


def refuse_equal(base: Side, head: Side, imported: Mapping[str, Modules]) -> None:
    """Raise UserError if no file of either tree was imported: both sides ran the same code.

    Does not judge two interpreters with the same files, or a side whose rnnbench does not report its modules.
    """
    if base.tree == head.tree or None in (base.tree, head.tree) or not all(imported.values()):
        return
    both = ((side, other, _under_test(side, imported[side.name])) for side, other in ((base, head), (head, base)))
    if not any(side.path(file, other) for side, other, modules in both for file in modules.values()):
        raise UserError(
            f"{head.suite.file}: nothing differs between base {base.about} and head {head.about}: no case imported a "
            f"file from {head.tree}; name cells of the code that you want to compare"
        )


def _under_test(side: Side, modules: Modules) -> dict[str, Path]:
    """Return a side's modules with their resolved files; those of rnnbench only if the side has its own."""
    has_rnnbench = side.tree is not None and (side.tree / PACKAGE_FILE).is_file()
    return {
        name: Path(file).resolve()
        for name, file in modules.items()
        if has_rnnbench or name.partition(".")[0] != "rnnbench"
    }


def _strays(imported: Mapping[str, Path], side: Side, other: Side) -> Iterator[tuple[str, Path, str]]:
    """Yield the modules of which a side's tree has one of the same name, and whose files are not the tree's.

    Each with the file that was imported and the tree's own. A cell's file has no name of its own: the file at the same
    path counts. An installed package of which the tree has less than half is another one (`tests/torch/`), and so is a
    package where the tree has a module (`utils/` and `utils.py`), or one of Python's own.
    """
    own_modules = _modules(side.files)
    elsewhere = {name: file for name, file in imported.items() if side.tree and not side.path(file, other)}
    sizes = Counter(name.partition(".")[0] for name in elsewhere)
    counts = Counter(name.partition(".")[0] for name in elsewhere if name in own_modules)
    for name, file in elsewhere.items():
        top = name.partition(".")[0]
        of_other = other.path(file, side)
        own_file = own_modules.get(name) or (of_other if of_other in side.files else None)
        is_meant = of_other or (2 * counts[top] >= sizes[top] and top not in sys.stdlib_module_names)
        if (
            own_file is not None
            and is_meant
            and (PurePosixPath(own_file).stem == "__init__") == (file.stem == "__init__")
        ):
            yield name, file, own_file


def _modules(files: Iterable[str]) -> dict[str, str]:
    """Map each name by which a module can be imported, from a folder that is not a package, to the module's file."""
    sources = [PurePosixPath(file) for file in sorted(files) if file.endswith(SOURCES)]
    packages = {file.parent for file in sources if file.stem == "__init__"}
    modules: dict[str, str] = {}
    for file in sources:
        if any(part in COPIED_FOLDERS or part.startswith(".") for part in file.parts):
            continue
        module = file.parent if file.stem == "__init__" else file.with_suffix("")
        for depth, folder in enumerate(reversed([*module.parents])):
            if folder not in packages:
                modules.setdefault(".".join(module.parts[depth:]), str(file))
    return modules


def _message(side: Side, name: str, file: Path, path: str) -> str:
    own_file = side.in_words(f"{side.tree}/{path}")
    if name.startswith(USER_MODULE):
        what = "a file of a cell"
        remedy = "in the suite, give its path relative to the suite"
    else:
        below = PurePosixPath(path)
        module = below.parent if below.stem == "__init__" else below
        source = PurePosixPath(*module.parts[: -len(name.split("."))])
        what = name
        remedy = f"name the folder to import it from: rnnbench check --source {source}/"
    return (
        f"{side.name} {side.about}: {what} was imported from {file}, though the {side.name} has its own: {own_file}\n"
        f"The check would have measured the wrong code; {remedy}"
    )
