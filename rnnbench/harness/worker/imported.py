"""The files that a worker's cases use, so that the coordinator knows whose code was measured."""

import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

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
