"""The files that code under test asks for and does not find, and the libraries of compiled code that it loads.

Code asks for a file when it imports a module, opens a file, or asks whether a path exists.
"""

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import rnnbench

STANDARD_CODE = (sysconfig.get_path("stdlib") + os.sep, "<frozen ")
INSTALLED_CODE = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})
OWN_CODE = str(Path(rnnbench.__file__).parent) + os.sep
EXISTENCE = ("stat", "lstat", "access")  # functions of `os` by which all others ask whether a file exists


class MissedFiles(MetaPathFinder):
    """Notes absolute paths that were asked for and not found; a module that was not found is a path without suffix."""

    def __init__(self) -> None:
        self._paths: dict[str, bool] = {}  # path -> whether a case asked for it, and not the import of all code
        self._in_replies = set[str]()
        self._is_case = False

    def watch(self) -> None:
        """Note modules that no finder finds from now on, for the rest of the process's life."""
        sys.meta_path.append(self)

    @contextmanager
    def noting(self, *, is_case: bool) -> Iterator[None]:
        """Also note questions of existence within the context; `is_case`: whether what asks belongs to one case."""
        self._is_case = is_case
        before = {name: getattr(os, name) for name in EXISTENCE}
        for name, ask in before.items():
            setattr(os, name, self._noted(ask))
        try:
            yield
        finally:
            for name, ask in before.items():
                setattr(os, name, ask)

    def new(self) -> dict[str, bool]:
        """Return the paths that were not returned before, and whether a case asked for each."""
        new = {path: is_case for path, is_case in self._paths.items() if path not in self._in_replies}
        self._in_replies.update(new)
        return new

    def add(self, path: str) -> None:
        """Note a path that was not found; its folder may become another one later."""
        self._paths.setdefault(os.path.abspath(path), self._is_case)  # noqa: PTH100 - it may not exist

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Note the places of a module that no other finder has found, by Python's protocol; find none."""
        name = fullname.rpartition(".")[2]
        for folder in sys.path if path is None else path:
            if not f"{folder}{os.sep}".startswith((*STANDARD_CODE, *INSTALLED_CODE)):
                self.add(os.path.join(folder, name))  # noqa: PTH118 - "" is the current folder
        return None

    def _noted(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of `os` that asks for a path, and notes the path if it is not there."""

        @wraps(ask)
        def noted(path: Any, *arguments: Any, **options: Any) -> Any:
            try:
                answer = ask(path, *arguments, **options)
            except (FileNotFoundError, NotADirectoryError):
                self._add_if_asked_by_code(path)
                raise
            if answer is False:
                self._add_if_asked_by_code(path)
            return answer

        return noted

    def _add_if_asked_by_code(self, path: Any) -> None:
        if isinstance(path, str | bytes | os.PathLike) and is_asked_by_code(3):
            self.add(os.fsdecode(path))


def is_asked_by_code(depth: int) -> bool:
    """Return whether other code than rnnbench's, perhaps by Python's library, has led to the frame of this depth."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and _is_standard(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and not frame.f_code.co_filename.startswith(OWN_CODE)


def _is_standard(file: str) -> bool:
    return file.startswith(STANDARD_CODE) and not file.startswith(INSTALLED_CODE)
