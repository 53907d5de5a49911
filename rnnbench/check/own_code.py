"""Which files are a side's own, refusals of checks that would not measure them, and which cases run the same code.

Each side's worker tells which definitions a case may run (`rnnbench.harness.worker.under_test`). A case is the same if
these are equal, and no file that is neither Python nor documentation has changed. Where in doubt, a case is timed.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rnnbench.cells import USER_MODULE
from rnnbench.check.sides import COPIES, PACKAGE, Side
from rnnbench.errors import UserError
from rnnbench.harness.machine import git

Modules = Mapping[str, str]  # a module's name -> its file
FileKind = Literal["python", "document", "other"]  # data, compiled sources, settings
Changed = Mapping[str, FileKind]  # the tracked files that differ between two sides, relative to their trees
SOURCES = (".py", ".pyx")

DOCUMENTS = (".md", ".rst", ".adoc", ".pyi", ".ipynb")
DOCUMENT_FOLDERS = {"docs", "doc", ".github", ".gitlab"}
DOCUMENT_NAMES = ("LICENSE", "LICENCE", "CHANGELOG", "AUTHORS", "CITATION.cff", "CODEOWNERS", ".gitignore", ".mailmap")
HARNESS = "rnnbench/harness/"  # if rnnbench itself is under test: what times all cases


def refuse_foreign(
    base: Side, head: Side, imported: Mapping[str, Modules], opened: Mapping[str, Iterable[str]]
) -> None:
    """Raise UserError if a side used files of the other side's tree, or modules from elsewhere that its tree contains.

    By each side's name: `imported`, the modules that its workers imported; `opened`, the files that they opened.
    """
    for side, other in ((base, head), (head, base)):
        modules = _under_test(side, imported[side.name])
        if stray := next(_strays(modules, side, other), None):
            raise UserError(_told(side, *stray))
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
    has_rnnbench = side.tree is not None and (side.tree / PACKAGE).is_file()
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
    known = Counter(name.partition(".")[0] for name in elsewhere if name in own_modules)
    for name, file in elsewhere.items():
        top, of_other = name.partition(".")[0], other.path(file, side)
        own = own_modules.get(name) or (of_other if of_other in side.files else None)
        is_meant = of_other or (2 * known[top] >= sizes[top] and top not in sys.stdlib_module_names)
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


def _told(side: Side, name: str, file: Path, own: str) -> str:
    own_file = side.in_words(f"{side.tree}/{own}")
    if name.startswith(USER_MODULE):
        what, remedy = "a file of a cell", "in the suite, give its path relative to the suite"
    else:
        below = PurePosixPath(own)
        module = below.parent if below.stem == "__init__" else below
        source = PurePosixPath(*module.parts[: -len(name.split("."))])
        what, remedy = name, f"name the folder to import it from: rnnbench check --source {source}/"
    return (
        f"{side.name} {side.about}: {what} was imported from {file}, though the {side.name} has its own: {own_file}\n"
        f"The check would have measured the wrong code; {remedy}"
    )


def sorted_by_kind(files: Iterable[str], suite: str) -> Changed:
    """Tell Python from documentation and from other files. `suite`: its file, which is read for both sides anyway."""
    kinds: dict[str, FileKind] = {}
    for file in files:
        path = PurePosixPath(file)
        is_document = path.suffix in DOCUMENTS or path.name.startswith(DOCUMENT_NAMES) or file == suite
        is_document = is_document or bool(DOCUMENT_FOLDERS & set(path.parts[:-1]))
        kinds[file] = "python" if path.suffix == ".py" else "document" if is_document else "other"
    return kinds


def changed_files(base: Side, head: Side) -> Changed | None:
    """Return the files that differ between both sides; None if more than their files differs, or if nobody knows."""
    if base.tree is None or head.tree is None or base.python != head.python or base.tree == head.tree:
        return None
    suite = os.path.relpath(head.suite.file.resolve(), head.tree)
    if base.commit is not None:
        files = git.changed_files(head.tree, base.commit, head.commit)
        return None if files is None else sorted_by_kind(files, suite)
    both = base.files | head.files
    return sorted_by_kind((file for file in both if _content(base.tree / file) != _content(head.tree / file)), suite)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def used_files(
    base: Side, head: Side, imported: Mapping[str, Modules], opened: Mapping[str, Iterable[str]]
) -> tuple[set[str], set[str]] | None:
    """Return the files of both sides' trees that workers imported, and those that they only read, as paths below them.

    `imported` and `opened`: by each side's name. None if git does not track one of them.
    """
    run, texts = set[str](), set[str]()
    for side, other in ((base, head), (head, base)):
        modules, read = (
            {side.path(Path(file).resolve(), other) for file in files} - {""}
            for files in (imported[side.name].values(), opened[side.name])
        )
        if not modules | read <= side.files:
            return None
        run, texts = run | modules, texts | (read - modules)
    return run, texts


def same_code(
    changed: Changed,
    used: tuple[set[str], set[str]] | None,
    reached: Mapping[str, Mapping[str, Any]] | None,
    cases: Iterable[str],
) -> tuple[frozenset[str], bool]:
    """Return the cases (keys) that run the same code on both sides, and whether one pair shall show that they do.

    It shall if a file that was imported differs.

    `used`: what `used_files` returns; `reached`: for each case, the replies of both sides about what it may run; None
    if nobody was asked, since only documentation has changed.
    """
    imported, read = used or (set(), set())
    differing = {file for file in imported if changed.get(file) == "python"}
    is_of_harness = any(file.startswith(HARNESS) for file in differing)
    if used is None or "other" in changed.values() or read & changed.keys() or is_of_harness:
        return frozenset(), False
    if reached is None:
        return frozenset(cases), False
    same = set()
    for key in cases:
        replies = [*reached.get(key, {}).values()]
        is_known = len(replies) == 2 and all(reply["ok"] and not reply["doubts"] for reply in replies)
        if is_known and replies[0]["code"] == replies[1]["code"]:
            same.add(key)
    return frozenset(same), bool(differing)
