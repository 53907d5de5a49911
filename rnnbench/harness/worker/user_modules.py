"""Import a user's cells into a worker, so that nothing else in their folders can replace another module."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from rnnbench.cells import file_of, is_own


class UserModules(MetaPathFinder):
    """Makes the modules that suites name importable, and the files beside them.

    `mine.cells:Cell` comes from the current folder if there is such a module. The folder of a cell's file or of a named
    module goes to the end of the import path, for the imports of that file or module.
    """

    def __init__(self, current: Path | None) -> None:
        """`current`: the current folder, or None if nothing may be imported from it."""
        self._current = current
        self._names: set[str] = set()
        sys.meta_path.insert(0, self)

    def add(self, cell: str, root: Path) -> None:
        """Make a cell importable; a file's path is relative to `root`, the folder of the suite."""
        if not is_own(cell):
            return
        target = file_of(cell)
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
        """Python's protocol for finders; returns None for modules that this finder does not handle."""
        return _spec_in(self._current, fullname) if self._current and fullname in self._names else None


def _spec_in(folder: Path, name: str) -> importlib.machinery.ModuleSpec | None:
    return importlib.machinery.PathFinder.find_spec(name, [str(folder)])


def _append(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
