"""The suite of a single class that has none: its cell at the sizes of `quick`."""

import ast
import os
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from rnnbench.cells import CELLS, file_of, is_own, misnamed, parsed
from rnnbench.errors import UserError
from rnnbench.project import folders_here
from rnnbench.store.records import LAYERS
from rnnbench.suite import suites
from rnnbench.suite.file import INPUT, INPUTS_ALLOWED, MAX_NAME, SuiteFile
from rnnbench.suite.suites import Suite
from rnnbench.text import first_few, nearest

MAX_NAMED = 10  # classes of a file that a message names
NO_MODULES = ("Exception", "Error", "Warning", "NamedTuple", "TypedDict", "Enum", "Protocol")  # ends of names of bases
SIZES = "quick"  # the suite that gives the sizes


def is_cell(name: str) -> bool:
    """Return True for FILE.py:CELL and PACKAGE:CELL, and not for a suite's file."""
    return is_own(name) and not Path(name).exists()


def layer_of(cell: str) -> str:
    """Return the torch.nn layer of a cell's kind (`lstm`, `gru`, `rnn`) by its name and its bases, else `none`."""
    name = parsed(cell)[0].rpartition(":")[2]
    words = [name, *(_defined(Path(file_of(cell))) or {}).get(name, [])]
    return next((kind for kind in ("lstm", "gru", "rnn") if any(kind in word.lower() for word in words)), "none")


def of_cell(cell: str, reference: str | None, *, whole: bool, input: str = "features") -> Suite:
    """Return the suite of a class or of a function that builds a module, against `reference`, or its kind's layer.

    `whole`: it runs the whole sequence; `input`: what it reads in a step, as the axis of a suite says it. Raises
    UserError if a file does not exist, or has no such name.
    """
    if not re.fullmatch(INPUT, input):
        raise UserError(f"input {input}: {INPUTS_ALLOWED}")
    file = _checked(cell)
    reference = layer_of(cell) if reference is None else reference
    if is_own(reference):
        _checked(reference)
    elif reference not in (*LAYERS, "none", *CELLS):
        raise UserError(f"{reference}: no such reference; expected one of {', '.join(LAYERS)}, none, or a cell")
    cell, reference = (_from_folder(name, file.parent) if is_own(name) else name for name in (cell, reference))
    quick = suites.read(SIZES).content
    sizes = {axis: getattr(quick.sweep[0], axis) for axis in ("phase", "batch_size", "seq_len", "hidden_size")}
    implementations = ["sequence" if whole else "loop", "torch.nn"]
    content = {
        "name": re.sub(r"[^A-Za-z0-9]+", "-", parsed(cell)[0].rpartition(":")[2])[:MAX_NAME].strip("-") or "cell",
        "description": f"{cell} at the sizes of the suite `{SIZES}`",
        "measure": quick.measure.model_dump(exclude_unset=True),
        "sweep": [
            {"cell": cell, "reference": reference, "input": input, **sizes, "implementation": implementations},
        ],
    }
    return Suite(file, SuiteFile.model_validate(content))


def _checked(cell: str) -> Path:
    """Return the file of a cell, or its module; raises UserError if it is not there."""
    try:
        where, fault = file_of(cell), misnamed(cell)
    except ValueError as error:
        raise UserError(f"{cell}: {error}") from None
    file = Path(where)
    if where.endswith(".py"):
        if not file.is_file():
            raise UserError(f"{cell}: {fault or f'no file {file}; expected FILE.py:CELL'}")
        if fault:  # without a name
            raise UserError(f"{cell}: {fault}; {file.name} has {_candidates(file)}")
        if fault := missing_name(file, cell):
            raise UserError(fault)
    elif fault:
        raise UserError(f"{cell}: {fault}")
    elif PathFinder.find_spec(module := where.partition(".")[0], [*map(str, folders_here()), *sys.path]) is None:
        raise UserError(
            f"{cell}: no module {module} here, in src/ or installed; pip install -e ., or give FILE.py:CELL"
        )
    return file


def _from_folder(cell: str, folder: Path) -> str:
    """Return the name of a cell with its file relative to a folder."""
    where = file_of(cell)
    return cell.replace(where, Path(os.path.relpath(where, folder)).as_posix(), 1) if where.endswith(".py") else cell


def missing_name(file: Path, cell: str) -> str:
    """Say that a file does not define a cell's name, as its text shows; empty if it does or may do so.

    The file is not run. One that can't be parsed, or that takes all names of another module, may define any name.
    """
    name, defined = parsed(cell)[0].rpartition(":")[2], _defined(file)
    if defined is None or re.search(rf"\b({name}|__getattr__)\b|import \*", file.read_text("utf-8", "replace")):
        return ""
    return f"{cell}: {file.name} has no class or function {name}{nearest(name, defined)}; it has {_candidates(file)}"


def _defined(file: Path) -> dict[str, list[str]] | None:
    """Return the functions and the classes that may be cells in a file, with their bases; None if it is no Python."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return None
    named = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    bases = {node.name: list(map(ast.unparse, getattr(node, "bases", []))) for node in named}
    functions = {node.name for node in named if isinstance(node, ast.FunctionDef)}
    return {name: of for name, of in bases.items() if name in functions or not all(b.endswith(NO_MODULES) for b in of)}


def _candidates(file: Path) -> str:
    """Name the classes and functions of a file that may be cells."""
    names = list(_defined(file) or ())
    return first_few(names, MAX_NAMED) if names else "none"
