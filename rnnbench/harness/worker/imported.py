"""The files that a worker's modules come from, so that the coordinator can tell whose code it measured."""

import sys
from pathlib import Path
from types import ModuleType

# Modules that can't be what is under test; they would be the most of what is sent.
LEFT_OUT = sys.stdlib_module_names | {"torch", "__main__", "__mp_main__"}


class Imported:
    """Remembers what it has told."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self) -> dict[str, str]:
        """The file of each module that was imported since the last call, by the module's name."""
        found = {}
        for name, module in list(sys.modules.items()):
            if name in self._told or name.partition(".")[0] in LEFT_OUT or not isinstance(module, ModuleType):
                continue
            self._told.add(name)
            # Past what the module defines itself: asking a lazy one for an attribute would import it.
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str):
                found[name] = str(Path(file).absolute())
        return found
