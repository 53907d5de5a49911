"""Where the code of a case is, for messages that stand beside it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnbench.analysis.comparison import Subject
from rnnbench.cells import CELLS, is_own, parsed
from rnnbench.harness.check.sides import nearest_project
from rnnbench.store.regular_files import read_text

MAX_BYTES = 1 << 20  # of a source file that is searched for the cell


@dataclass(frozen=True)
class CodePlaces:
    """Finds the file and the line of a suite's cells, as seen from `root`, the folder of the whole checkout."""

    suite: Path
    root: Path
    sources: tuple[str, ...] = ()  # other folders that modules are imported from

    def find(self, case: Subject) -> tuple[str, int] | None:
        """Return the file and the line of a case's class, or the suite's first line; None if both are outside `root`.

        Nothing is imported. A class that its module takes from another one is looked for in the files of its package.
        """
        cell = str(case.axes().get("cell", ""))
        target = parsed(cell)[0] if is_own(cell) else CELLS[cell].target if cell in CELLS else ""
        where, _, name = target.rpartition(":")
        places = [(file, _line(file, name)) for file in self._files(where) if self._within(file)]
        file, line = next((place for place in places if place[1]), next(iter(places), (self.suite, 0)))
        within = self._within(file)
        return (within, line or 1) if within else None

    def _files(self, where: str) -> Iterator[Path]:
        """The files that may have the class, the likeliest first."""
        if where.endswith(".py"):
            yield self.suite.parent / where
            return
        tops = [top for top in (nearest_project(self.root, self.suite), self.root) for top in (top / "src", top)]
        for top in [*map(Path, self.sources), *tops] if where else []:
            module = top.joinpath(*where.split("."))
            yield module.with_suffix(".py")
            yield module / "__init__.py"
            if (module / "__init__.py").is_file():
                yield from sorted(module.rglob("*.py"))

    def _within(self, file: Path) -> str:
        """The path of a file as seen from `root`; empty if it is not below."""
        file, root = file.resolve(), self.root.resolve()
        return file.relative_to(root).as_posix() if file.is_relative_to(root) and file.is_file() else ""


def _line(file: Path, name: str) -> int:
    """The line at which a class or a function begins; 0 if the file has none of this name."""
    try:
        tree = ast.parse(read_text(file, MAX_BYTES))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):  # ValueError: not UTF-8, or zero bytes
        return 0
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((node.lineno for node in tree.body if isinstance(node, kinds) and node.name == name), 0)
