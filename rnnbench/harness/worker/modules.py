"""The modules and files of the code under test: how they are found, and which of them were used."""

import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnbench.cells import file_of, is_own
from rnnbench.project import module_folders, nearest_project

# Modules that can't be under test; they would be most of the data sent.
LEFT_OUT = sys.stdlib_module_names | {"torch", "__main__", "__mp_main__"}


class Imported:
    """Reports each imported module once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self) -> dict[str, str]:
        """The files of the modules imported since the last call: module name -> path."""
        files = {}
        for name, module in list(sys.modules.items()):
            if name in self._told or name.partition(".")[0] in LEFT_OUT or not isinstance(module, ModuleType):
                continue
            self._told.add(name)
            # Bypasses the module's own `__getattr__`: reading an attribute of a lazy module would import it.
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str):
                files[name] = str(Path(file).absolute())
        return files


class Opened:
    """Reports each file or library that Python code opens from now on once, except those of installed packages."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._new: dict[str, None] = {}
        self._installed = (*{sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")}, "/proc/")
        sys.addaudithook(self._note)

    def new(self) -> list[str]:
        """The files opened since the last call."""
        opened, self._new = [*self._new], {}
        self._told.update(opened)
        return opened

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "ctypes.dlopen") and isinstance(arguments[0], str | bytes | os.PathLike):
            file = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - the current folder may change later
            # Python writes bytecode under another name first: mine.cpython-311.pyc.1234
            is_bytecode = f"{os.sep}__pycache__{os.sep}" in file
            if file not in self._told and not file.startswith(self._installed) and not is_bytecode:
                self._new[file] = None


class UserModules(MetaPathFinder):
    """Makes the modules that suites name importable, and the files beside them.

    `mine.cells:Cell` comes from the current folder, or from its project, if there is such a module there or in their
    `src/`. The folder of a cell's file or of a named module goes to the end of the import path, for the imports of that
    file or module.
    """

    def __init__(self, current: Path | None) -> None:
        """`current`: the current folder, or None if nothing may be imported from it."""
        self._folders = [] if current is None else module_folders(current, nearest_project(current))
        self._named: dict[str, Path] = {}  # a module that a suite has named -> the folder that it is in
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
        folder = next((folder for folder in self._folders if _spec_in(folder, name) is not None), None)
        if folder is not None and name not in sys.stdlib_module_names:
            self._named[name] = folder
            _append(folder)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Python's protocol for finders; returns None for modules that this finder does not handle."""
        return _spec_in(self._named[fullname], fullname) if fullname in self._named else None


def _spec_in(folder: Path, name: str) -> importlib.machinery.ModuleSpec | None:
    return importlib.machinery.PathFinder.find_spec(name, [str(folder)])


def _append(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
