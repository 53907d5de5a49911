"""Where the modules of users come from, and which files a worker has used."""

import os
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal

from rnnbench.cells import file_of, is_own
from rnnbench.harness.worker import code_parts
from rnnbench.harness.worker.missed_files import MissedFiles, is_asked_by_code
from rnnbench.project import module_folders, nearest_project

# Modules that can't be under test; they would be most of the data sent.
LEFT_OUT_MODULES = sys.stdlib_module_names | {"torch", "__main__", "__mp_main__"}
INSTALLED_PATHS = (*{sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")}, "/proc/")
SYSTEM_PATHS = ("/lib", "/usr/lib", os.path.join(sys.prefix, "lib", ""))  # noqa: PTH118 - of libraries
OPENS = ("open", "ctypes.dlopen")  # audit events
IMPORT_SYSTEM = "<frozen importlib"  # how the names of its files begin
READS_FOR_IMPORT = ("get_code", "_fill_cache", "path_hook_for_FileFinder")  # its functions that open and list
MAX_FRAMES = 8  # between the code that shows a warning, say, and the file that it opens


class UsedFiles:
    """Tells each imported module once, and each file or library that Python code opens, but for installed packages."""

    def __init__(self) -> None:
        self._names_in_replies: set[str] = set()  # names of modules and absolute paths
        self._opened: dict[str, None] = {}
        self._read: dict[str, None] = {}  # of these, what was opened by anything but an import
        self._told_read: set[str] = set()
        self._written: dict[str, None] = {}
        self._libraries: dict[str, None] = {}
        self.missed = MissedFiles()

    def watch(self) -> None:
        """Note which files are opened from now on, for the rest of the process's life."""
        sys.addaudithook(self._note)
        self.missed.watch()

    def new(self) -> dict[str, Any]:
        """Return the files that were used since the last call.

        These are the modules `imported` with their files, the files `opened`, and those that were `read`: opened by
        anything but an import. Also, of the whole time so far, the files that were `written`: opened to write; and the
        `libraries` of compiled code that were loaded. `missed`: as `MissedFiles.new`.
        """
        imported = {}
        opened = [*self._opened]
        self._opened = {}
        read = [*self._read]
        self._read = {}
        for name, module in list(sys.modules.items()):
            if (
                name in self._names_in_replies
                or name.partition(".")[0] in LEFT_OUT_MODULES
                or not isinstance(module, ModuleType)
            ):
                continue
            self._names_in_replies.add(name)
            # Bypasses the module's own `__getattr__`: reading an attribute of a lazy module would import it.
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str):
                imported[name] = str(Path(file).absolute())
        self._names_in_replies.update(opened)
        self._told_read.update(read)
        every = {"written": [*self._written], "libraries": [*self._libraries], "missed": self.missed.new()}
        return {"imported": imported, "opened": opened, "read": read, **every}

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        library = _loaded_library(event, arguments)
        if library and is_asked_by_code(2):
            self._libraries[library] = None
        file = opened_file(event, arguments)
        if file is None:
            return
        is_written = isinstance(arguments[-1], int) and arguments[-1] & os.O_ACCMODE != os.O_RDONLY
        reader = reader_of_event()
        if event == "open" and is_written:
            self._written[file] = None
        elif reader == "code" and not os.path.lexists(file):
            self.missed.add(file)
        if file not in self._names_in_replies and reader != "rnnbench":
            self._opened[file] = None
        if file not in self._told_read and reader == "code":
            self._read[file] = None


def _loaded_library(event: str, arguments: tuple[Any, ...]) -> str:
    """Return the absolute path of the file of compiled code that an audit event loads; empty for others."""
    file = None
    if event == "ctypes.dlopen" and arguments:
        file = arguments[0]
    elif event == "import" and len(arguments) > 1:  # the second is the file of an extension module, else None
        file = arguments[1]
    if not isinstance(file, str | bytes | os.PathLike):
        return ""
    path = os.path.abspath(os.fsdecode(file))  # noqa: PTH100 - the current folder may change later
    return path if os.path.lexists(path) and not path.startswith((*INSTALLED_PATHS, *SYSTEM_PATHS)) else ""


def opened_file(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the absolute path of the file that an audit event opens; None for others, and in installed packages."""
    if event not in OPENS or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
        return None
    file = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - the current folder may change later
    # Python writes bytecode under another name first: mine.cpython-311.pyc.1234
    is_bytecode = f"{os.sep}__pycache__{os.sep}" in file
    return None if file.startswith(INSTALLED_PATHS) or is_bytecode else file


def reader_of_event() -> Literal["import", "message", "rnnbench", "code"]:
    """Return who opens or lists what an audit hook, which calls this, is told of.

    `message`: the line of a warning or an error is shown; `rnnbench`: it looks at the code itself.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(IMPORT_SYSTEM):
        if frame.f_code.co_name in READS_FOR_IMPORT:
            return "import"
        frame = frame.f_back
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        if frame.f_code.co_filename in (warnings.__file__, traceback.__file__):
            return "message"
        if frame.f_code.co_filename == code_parts.__file__:
            return "rnnbench"
        frame = frame.f_back
    return "code"


class UserModules(MetaPathFinder):
    """Makes the modules that suites name importable, and the files beside them.

    `mine.cells:Cell` comes from the current folder, or from its project, if there is such a module there or in their
    `src/`. The folder of a cell's file or of a named module goes to the end of the import path, for the imports of that
    file or module.
    """

    def __init__(self, current: Path | None) -> None:
        """`current`: the current folder, or None if nothing may be imported from it."""
        folders = [] if current is None else module_folders(current, nearest_project(current))
        self._folders = [str(folder) for folder in folders]
        self._named: dict[str, str] = {}  # a module that a suite has named -> the folder that it is in
        sys.meta_path.insert(0, self)

    def add(self, cell: str, root: Path) -> None:
        """Make a cell importable; a file's path is relative to `root`, the folder of the suite."""
        target = file_of(cell)
        folder = ""
        name = target.partition(".")[0]
        if is_own(cell) and target.endswith(".py"):
            folder = str((root / target).resolve().parent)
        elif is_own(cell) and name not in sys.stdlib_module_names:
            folders = (folder for folder in self._folders if PathFinder.find_spec(name, [folder]))
            folder = self._named[name] = next(folders, "")
        if folder and folder not in sys.path:
            sys.path.append(folder)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module by Python's protocol; returns None for modules that this finder does not handle."""
        folder = self._named.get(fullname)
        return PathFinder.find_spec(fullname, [folder]) if folder else None
