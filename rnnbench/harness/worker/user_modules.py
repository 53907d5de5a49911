"""Where a worker imports a user's cells from: nothing else in these folders can take the place of another module."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from rnnbench.cells import is_own


class UserModules(MetaPathFinder):
    """Makes the modules importable that suites name, and what lies beside them.

    `mine.cells:Cell` is looked for in the current folder first, if it has such a module; a folder that holds a cell's
    file, or a module that was named, comes last on the import path, for what they import in turn.
    """

    def __init__(self, current: Path | None) -> None:
        """`current`: the current folder, or None where nothing may come from it."""
        self._current = current
        self._names: set[str] = set()
        sys.meta_path.insert(0, self)

    def add(self, cell: str, root: Path) -> None:
        """Make a cell importable; a file's path is relative to `root`, the folder of the suite."""
        if not is_own(cell):
            return
        target = cell.rpartition(":")[0]
        if target.endswith(".py"):
            _append((root / target).resolve().parent)
            return
        name = target.partition(".")[0]
        is_pythons = name in sys.stdlib_module_names
        if self._current is not None and not is_pythons and _spec_in(self._current, name) is not None:
            self._names.add(name)
            _append(self._current)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Python's protocol for finders; None where this one has no say."""
        return _spec_in(self._current, fullname) if self._current and fullname in self._names else None


def _spec_in(folder: Path, name: str) -> importlib.machinery.ModuleSpec | None:
    return importlib.machinery.PathFinder.find_spec(name, [str(folder)])


def _append(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
