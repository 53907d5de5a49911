"""The suite of a single class that has none: its cell at the sizes of `quick`."""

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
SIZES = "quick"  # the suite that gives the sizes


def is_cell(name: str) -> bool:
    """Return True for FILE.py:CELL and PACKAGE:CELL, and not for a suite's file."""
    return is_own(name) and not Path(name).exists()


def layer_of(cell: str) -> str:
    """Return the torch.nn layer of a cell's kind (`lstm`, `gru`, `rnn`) by its name and its bases, else `none`."""
    name, file = parsed(cell)[0].rpartition(":")[2], Path(file_of(cell))
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    words = [name, *re.findall(rf"^class {re.escape(name)}\((.*)\)", text, re.MULTILINE)]
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
    file, module = Path(where), where.partition(".")[0]
    if where.endswith(".py"):
        fault = (fault or missing_name(file, cell)) if file.is_file() else f"no file {file}; expected FILE.py:CELL"
    elif not fault and PathFinder.find_spec(module, [*map(str, folders_here()), *sys.path]) is None:
        fault = f"no module {module} here, in src/ or installed; pip install -e ., or give FILE.py:CELL"
    if fault:
        raise UserError(f"{cell}: {fault}")
    return file


def _from_folder(cell: str, folder: Path) -> str:
    """Return the name of a cell with its file relative to a folder."""
    where = file_of(cell)
    return cell.replace(where, Path(os.path.relpath(where, folder)).as_posix(), 1) if where.endswith(".py") else cell


def missing_name(file: Path, cell: str) -> str:
    """Say that a file does not define a cell's name, as its text shows; empty if it does or may do so.

    The file is not run. One that takes all names of another module may define any name.
    """
    name, text = parsed(cell)[0].rpartition(":")[2], file.read_text("utf-8", "replace")
    if re.search(rf"\b({re.escape(name)}|__getattr__)\b|import \*", text):
        return ""
    defined = re.findall(r"^(?:class|def) (\w+)", text, re.MULTILINE)
    known = first_few(defined, MAX_NAMED) if defined else "none"
    return f"{file.name} has no class or function {name}{nearest(name, defined)}; it has {known}"
