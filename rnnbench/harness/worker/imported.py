"""The files of a worker's modules, so that the coordinator knows whose code was measured."""

import sys
from pathlib import Path
from types import ModuleType

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
