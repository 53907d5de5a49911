"""Settings of torch that a case's own code sets when it is imported or built: they are part of the case.

They hold while this case is prepared, called and verified, and for no other case of the worker. A module is run once
for all cases, so what it sets belongs to each case whose code imports it.
"""

import importlib.machinery
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnbench.cells import file_of, is_own, load_function, parsed
from rnnbench.harness.machine import global_state
from rnnbench.harness.worker import code_parts
from rnnbench.harness.worker.case_code import modules_of
from rnnbench.harness.worker.user_files import LEFT_OUT_MODULES

# The class of Python's own loaders, which runs the statements of all modules that are no compiled libraries.
LOADER: Any = next(each for each in importlib.machinery.SourceFileLoader.__mro__ if "exec_module" in vars(each))

Values = dict[str, Any]


def set_since(before: Mapping[str, Any]) -> Values:
    """Return the settings of torch that have other values than `before`."""
    return {name: value for name, value in global_state.capture().items() if before[name] != value}


def without_suite(settings: Mapping[str, Any]) -> Values:
    """Return the settings without those that the suite decides, so that equal work is compared."""
    return {name: value for name, value in settings.items() if name not in global_state.OF_THE_SUITE}


def overruled(settings: Mapping[str, Any]) -> Values:
    """Return the settings that the suite decides."""
    return {name: value for name, value in settings.items() if name in global_state.OF_THE_SUITE}


class OwnSettings:
    """Imports the code that cases name, and notes which settings each module sets when it is run for the first time."""

    def __init__(self) -> None:
        self._of_modules: dict[str, Values] = {}  # of those that set any, in the order in which their imports ended
        self._modules: dict[str, set[str]] = {}  # a target that was imported -> the modules that this has run
        self._ran: set[str] | None = None  # modules that have been run; None if nobody notes it

    def load(self, targets: Iterable[str], root: Path) -> None:
        """Import the users' code among these targets, each with the present settings, which hold again afterwards.

        Raises CellError at the first that can't be imported. Then no case may be run by this process any more: modules
        that this one had imported before it failed stay loaded, so another import of its package would succeed.
        """
        for target in targets:
            if not is_own(target) or target in self._modules:
                continue
            before = global_state.capture()
            try:
                with self.noting():
                    self._ran = set()
                    function = load_function(parsed(target)[0], root)
                    self._modules[target] = {*self._ran, file_of(target), str(getattr(function, "__module__", ""))}
            finally:
                global_state.restore(before)

    def set_by(self, targets: Iterable[str]) -> Values:
        """Return the settings that the modules of these targets, and modules that these import, set when they ran."""
        if not self._of_modules:
            return {}
        todo = [name for target in targets for name in self._modules.get(target, ())]
        reached = set[str]()
        while todo:
            name = todo.pop()
            if name not in reached:
                reached.add(name)
                todo += _imported_by(name)
        values: Values = {}
        for name, settings in self._of_modules.items():
            if name in reached:
                values |= settings
        return values

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what each module sets that is run within the context."""
        if self._ran is not None:
            yield
            return
        self._ran = set()
        usual = LOADER.exec_module

        def run(loader: Any, module: ModuleType) -> None:
            before = global_state.capture()
            try:
                usual(loader, module)
            finally:
                if changed := set_since(before):
                    self._of_modules.setdefault(module.__name__, changed)
                if self._ran is not None:
                    self._ran.add(module.__name__)

        LOADER.exec_module = run
        try:
            yield
        finally:
            LOADER.exec_module = usual
            self._ran = None


def _imported_by(name: str) -> list[str]:
    """Return the modules that a loaded one may import, and its package."""
    module = sys.modules.get(name)
    file = str(getattr(module, "__file__", None) or "")
    if module is None or name.partition(".")[0] in LEFT_OUT_MODULES or not file.endswith(".py"):
        return []
    modules = [name.rpartition(".")[0]]
    with suppress(OSError, SyntaxError):  # the file has changed since, or is gone
        of_file = code_parts.parts(file)
        for imports in (of_file.imports, *(part.imports for part in of_file.parts.values())):
            modules += [str(each["__name__"]) for each in modules_of(imports, vars(module))]
    return [each for each in modules if each in sys.modules]
