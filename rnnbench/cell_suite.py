"""The suite of a single class that has none: its cell at the sizes of `quick`."""

import ast
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rnnbench import suites
from rnnbench.cells import CELLS, file_of, is_own, misnamed, parsed
from rnnbench.errors import UserError
from rnnbench.store.names import SUITE
from rnnbench.store.records import LAYERS
from rnnbench.store.regular_files import no_file
from rnnbench.suite_file import INPUT, INPUTS_ALLOWED, MAX_NAME, SuiteFile
from rnnbench.suites import Suite
from rnnbench.text import first_few, nearest

MAX_NAMED = 10  # classes of a file that a message names
NO_MODULES = ("Exception", "Error", "Warning", "NamedTuple", "TypedDict", "Enum", "Protocol")  # ends of names of bases
SIZES = "quick"  # the suite that gives the sizes


def is_cell(name: str) -> bool:
    """Whether a name is FILE.py:CELL or PACKAGE:CELL, and not a suite's file."""
    return is_own(name) and not Path(name).exists()


def layer_of(cell: str) -> str:
    """Return the torch.nn layer of a cell's kind (`lstm`, `gru`, `rnn`) by its name and its bases, else `none`."""
    where, name = file_of(cell), parsed(cell)[0].rpartition(":")[2]
    words = [name, *(_bases(Path(where), name) if where.endswith(".py") else [])]
    return next((kind for kind in ("lstm", "gru", "rnn") if any(kind in word.lower() for word in words)), "none")


def of_cell(cell: str, reference: str | None, *, whole: bool, input: str = "features") -> Suite:
    """The suite of a class or of a function that builds a module, against `reference`, or the layer of its kind.

    `whole`: it runs the whole sequence; `input`: what it reads in a step, as the axis of a suite says it. Raises
    UserError if a file does not exist, or has no such name.
    """
    if not re.fullmatch(INPUT, input):
        raise UserError(f"input {input}: {INPUTS_ALLOWED}")
    file = _checked(cell)
    reference = layer_of(cell) if reference is None else reference
    cell = _from_folder(cell, file.parent)
    if is_own(reference):
        _checked(reference)
        reference = _from_folder(reference, file.parent)
    elif reference not in (*LAYERS, "none", *CELLS):
        raise UserError(f"{reference}: no such reference; expected one of {', '.join(LAYERS)}, none, or a cell")
    quick = suites.read(SIZES).content
    sizes = {axis: getattr(quick.sweep[0], axis) for axis in ("phase", "batch_size", "seq_len", "hidden_size")}
    sweep: dict[str, Any] = {"cell": cell, "reference": reference, "input": input, **sizes}
    sweep["implementation"] = ["sequence" if whole else "loop", "torch.nn"]
    name = re.sub(r"[^A-Za-z0-9]+", "-", parsed(cell)[0].rpartition(":")[2])[:MAX_NAME].strip("-")
    content = {
        "name": name if re.fullmatch(SUITE, name) else "cell",
        "description": f"{cell} at the sizes of the suite `{SIZES}`",
        "measure": quick.measure.model_dump(exclude_unset=True),
        "sweep": [sweep],
    }
    return Suite(file, SuiteFile.model_validate(content))


def _checked(cell: str) -> Path:
    """The file of a cell, or its module; raises UserError if it is not there."""
    try:
        where, fault = file_of(cell), misnamed(cell)
    except ValueError as error:
        raise UserError(f"{cell}: {error}") from None
    file = Path(where)
    if fault and where.endswith(".py") and file.is_file():  # without a name
        raise UserError(f"{cell}: {fault}; {file.name} has {_shown(_in_file(file)[1])}")
    if fault:
        raise UserError(f"{cell}: {fault}")
    if not where.endswith(".py") and not _is_there(where.partition(".")[0]):
        raise UserError(f"{cell}: no module {where.partition('.')[0]}; expected FILE.py:CELL or PACKAGE:CELL")
    if where.endswith(".py"):
        if not file.is_file():
            raise UserError(f"{cell}: {no_file(file)}; expected FILE.py:CELL")
        if fault := missing_name(file, cell):
            raise UserError(fault)
    return file


def _from_folder(cell: str, folder: Path) -> str:
    """The name of a cell with its file relative to a folder."""
    where = file_of(cell)
    if not where.endswith(".py"):
        return cell
    return cell.replace(where, Path(os.path.relpath(where, folder)).as_posix(), 1)


def missing_name(file: Path, cell: str) -> str:
    """Why a file does not define a cell's name, as far as its text shows; empty if it does or may do so.

    The file is not run. One that can't be parsed, or that takes all names of another module, may define any name.
    """
    name = parsed(cell)[0].rpartition(":")[2]
    defined, classes = _in_file(file)
    if name in defined or "*" in defined or "__getattr__" in defined:
        return ""
    like = nearest(name, classes)
    return f"{cell}: {file.name} has no class or function {name}{like}; it has {_shown(classes)}"


def _bases(file: Path, name: str) -> list[str]:
    """The bases of a class, as its file writes them; the file is not run."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == name]
    return [ast.unparse(base) for node in classes for base in node.bases]


def _in_file(file: Path) -> tuple[set[str], list[str]]:
    """The names that a file defines, and those that may be cells: `*` stands for names that are not known."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return {"*"}, []
    defined: set[str] = set()
    classes: list[str] = []
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                defined.add(node.name)
                classes += [node.name] if _may_be_cell(node) else []
            case ast.Import() | ast.ImportFrom():
                defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.Expr():
                pass
            case _:  # a condition, a loop: what it defines is not known
                defined.add("*")
    return defined, classes


def _may_be_cell(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """False for a class that has no base, and so is no module, and for exceptions and tuples."""
    if isinstance(node, ast.FunctionDef):
        return True
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    return any(not base.endswith(NO_MODULES) for base in bases)


def _shown(classes: Sequence[str]) -> str:
    return first_few(classes, MAX_NAMED) if classes else "none"


def _is_there(module: str) -> bool:
    """Whether a module, or package, of this name is in the current folder or can be imported; nothing is."""
    if PathFinder.find_spec(module, [str(Path.cwd())]) is not None:
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # one that is loaded and has no spec
        return module in sys.modules
