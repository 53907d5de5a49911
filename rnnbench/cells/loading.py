"""Import the class or the function that a cell's name points at."""

import importlib
import importlib.util
import os
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from rnnbench.cells.registry import CellMissing
from rnnbench.raised import line_of
from rnnbench.text import error_in_words, first_line

if TYPE_CHECKING:
    from torch import nn

USER_MODULE = "rnnbench_user_"  # begins the names of modules that are imported from a file


def load(target: str, root: Path) -> Callable[..., "nn.Module"]:
    """Import what `target` names: a class, or a function that builds a module.

    A file's path is relative to `root`, the folder of the suite. Raises CellMissing if the module can't be imported, or
    has nothing of that name that can build a torch module.
    """
    from torch import nn

    where, class_name, cell_class = _imported(target, root)
    is_function = isinstance(cell_class, FunctionType)
    if not is_function and (not isinstance(cell_class, type) or not issubclass(cell_class, nn.Module)):
        raise CellMissing(f"{where}: {class_name} is not a subclass of torch.nn.Module, nor a function that builds one")
    loaded: Callable[..., nn.Module] = cell_class
    return loaded


def load_function(target: str, root: Path) -> Callable[..., Any]:
    """Import a function or a class by its name, as `load` does; raises CellMissing if it is not there."""
    where, name, function = _imported(target, root)
    if not callable(function):
        raise CellMissing(f"{where}: {name} is {type(function).__name__}; expected a function")
    loaded: Callable[..., Any] = function
    return loaded


def _imported(target: str, root: Path) -> tuple[str, str, Any]:
    """The module and the name of a target, and what has this name there; raises CellMissing if nothing has."""
    where, _, class_name = target.rpartition(":")
    try:
        module = _from_file((root / where).resolve()) if where.endswith(".py") else importlib.import_module(where)
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is run
        is_relative = where.endswith(".py") and "relative import" in first_line(error)
        hint = _in_package(root / where, class_name) if is_relative else ""
        raise CellMissing(f"{where} can't be imported: {_said(error)}{hint}") from error
    cell_class = getattr(module, class_name, None)
    if cell_class is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type) and _may_be_cell(value)]
        like = get_close_matches(class_name, classes, n=1)
        own = [name for name in classes if getattr(module, name).__module__ == module.__name__]
        hint = f"did you mean {like[0]}?" if like else f"it has {', '.join(own) or 'none'}"
        raise CellMissing(f"{where} has no class or function {class_name}; {hint}")
    return where, class_name, cell_class


def _may_be_cell(value: type) -> bool:
    """False for classes of which nobody makes a cell: exceptions, dataclasses and tuples."""
    from torch import nn

    return issubclass(value, nn.Module) or not (issubclass(value, BaseException | tuple) or is_dataclass(value))


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no Python file {path}")
    # Python looks up a class's module by name, so files with one name in two folders need two module names.
    name = f"{USER_MODULE}{path.stem}_{zlib.crc32(os.fsencode(path)):08x}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None  # a .py file has a loader
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    return module


def _said(error: BaseException) -> str:
    """An error with the first line of its message, and its place in the user's files.

    There is no place if the import system raised it.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    is_in_users_file = not frame.filename.startswith("<") and frame.filename != __file__
    return f"{error_in_words(error)}{line_of(frame) if is_in_users_file else ''}"


def _in_package(file: Path, name: str) -> str:
    """How to name a cell whose file is a part of a package; empty if its folder is none."""
    path = file.resolve()
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    if len(parts) == 1:
        return ""
    there = "" if folder == Path.cwd() else f", with {folder} as the current folder"
    return f"; the file is a part of a package: name it {'.'.join(parts)}:{name}{there}"
