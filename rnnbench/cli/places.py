"""Where the code of a case is, for messages that stand beside it."""

import ast
from dataclasses import dataclass
from pathlib import Path

from rnnbench.analysis.comparison import Subject
from rnnbench.cells import file_of, is_own, parsed
from rnnbench.store.regular_files import read_text

MAX_BYTES = 1 << 20  # of a source file that is searched for the cell


@dataclass(frozen=True)
class CodePlaces:
    """Finds the file and the line of a suite's cells, as seen from `root`, the folder of the whole checkout."""

    suite: Path
    root: Path

    def find(self, case: Subject) -> tuple[str, int] | None:
        """The file and the line of a case's cell, or the suite's first line; None for a file outside `root`."""
        cell = str(case.axes().get("cell", ""))
        if is_own(cell) and (where := file_of(cell)).endswith(".py"):
            file = self.suite.parent / where
            if found := self._within(file):
                return found, _line(file, parsed(cell)[0].rpartition(":")[2])
        found = self._within(self.suite)
        return (found, 1) if found else None

    def _within(self, file: Path) -> str:
        """The path of a file as seen from `root`; empty if it is not below."""
        file, root = file.resolve(), self.root.resolve()
        return file.relative_to(root).as_posix() if file.is_relative_to(root) and file.is_file() else ""


def _line(file: Path, name: str) -> int:
    """The line at which a class or a function begins; the first one if that is not known."""
    try:
        tree = ast.parse(read_text(file, MAX_BYTES))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):  # ValueError: not UTF-8, or zero bytes
        return 1
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((node.lineno for node in tree.body if isinstance(node, kinds) and node.name == name), 1)
