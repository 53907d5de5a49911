"""Where the code of a case is, for messages that stand beside it."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnbench.analysis.comparison import Subject
from rnnbench.cells import CELLS, is_own, parsed
from rnnbench.check.sides import nearest_project


def place_of(case: Subject, suite: Path, root: Path, sources: Sequence[str] = ()) -> tuple[str, int] | None:
    """Return the file and the line of a case's class, or the suite's first line; None if both are outside `root`.

    `root`: the folder of the whole checkout; `sources`: other folders that modules are imported from. Nothing is
    imported.
    """
    cell = str(case.axes().get("cell", ""))
    target = parsed(cell)[0] if is_own(cell) else CELLS[cell].target if cell in CELLS else ""
    where, _, name = target.rpartition(":")
    root, lines = root.resolve(), {}
    for file in (*_files(where, suite, root, sources), suite):
        if file.is_file() and (inside := file.resolve()).is_relative_to(root):
            lines[inside.relative_to(root).as_posix()] = _line(file, name)
    named = ((file, line) for file, line in lines.items() if line)
    return next(named, next(((file, 1) for file in lines), None))


def _files(where: str, suite: Path, root: Path, sources: Sequence[str]) -> Iterator[Path]:
    """Yield the files that may have a class, the likeliest first; a package may take it from any of its modules."""
    if where.endswith(".py"):
        yield suite.parent / where
    elif where:
        tops = [top / below for top in (nearest_project(root, suite), root) for below in ("src", "")]
        for module in (top.joinpath(*where.split(".")) for top in (*map(Path, sources), *tops)):
            yield from (module.with_suffix(".py"), module / "__init__.py", *sorted(module.rglob("*.py")))


def _line(file: Path, name: str) -> int:
    """Return the line at which a class or a function begins; 0 if the file has none of this name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # the suite, or zero bytes
        return 0
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((node.lineno for node in tree.body if isinstance(node, kinds) and node.name == name), 0)
