"""The suite of a single class that has none, and the files of a new cell, from templates."""

import builtins
import json
import keyword
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.cells import CELLS, file_of, is_own, misnamed, parsed
from rnnbench.errors import UserError
from rnnbench.project import folders_here
from rnnbench.store.records import LAYERS, Reference
from rnnbench.suite.axes import INPUT_PATTERN, INPUTS_ALLOWED
from rnnbench.suite.places import MAX_SUITE_NAME, content_of, find
from rnnbench.text import first_few, listed, nearest

if TYPE_CHECKING:
    from rnnbench.suite.suites import Suite

MAX_NAMED = 10  # classes of a file that a message names
SIZES_SUITE = "quick"  # the suite that gives the sizes


def is_cell(name: str) -> bool:
    """Return True for FILE.py:CELL and PACKAGE:CELL, and not for a suite's file."""
    return is_own(name) and not Path(name).exists()


def layer_of(cell: str) -> str:
    """Return the torch.nn layer of a cell's kind (`lstm`, `gru`, `rnn`) by its name and its bases, else `none`."""
    name = _class_name(cell)
    file = Path(file_of(cell))
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    words = [name, *re.findall(rf"^class {re.escape(name)}\((.*)\)", text, re.MULTILINE)]
    return next((kind for kind in ("lstm", "gru", "rnn") if any(kind in word.lower() for word in words)), "none")


def of_cell(cell: str, reference: str | None, *, whole: bool, input: str = "features") -> "Suite":
    """Return the suite of a class or of a function that builds a module, against `reference`, or its kind's layer.

    `whole`: it runs the whole sequence; `input`: what it reads in a step, as the axis of a suite says it. Raises
    UserError if a file does not exist, or has no such name.
    """
    from rnnbench.suite.suites import Suite

    return Suite.model_validate(_content(cell, reference, whole=whole, input=input))


def _content(cell: str, reference: str | None, *, whole: bool, input: str) -> dict[str, Any]:
    """Return what a suite's file for a class would hold, and the `file` itself: that of the class."""
    if not re.fullmatch(INPUT_PATTERN, input):
        raise UserError(f"input {input}: {INPUTS_ALLOWED}")
    file = _checked(cell)
    reference = layer_of(cell) if reference is None else reference
    if is_own(reference):
        _checked(reference)
    elif reference not in (*LAYERS, "none", *CELLS):
        raise UserError(f"{reference}: no such reference; expected one of {', '.join(LAYERS)}, none, or a cell")
    cell = _from_folder(cell, file.parent) if is_own(cell) else cell
    reference = _from_folder(reference, file.parent) if is_own(reference) else reference
    quick = find(SIZES_SUITE)
    implementations = ["sequence" if whole else "loop", "torch.nn"]
    return {
        "file": file,
        "name": re.sub(r"[^A-Za-z0-9]+", "-", _class_name(cell))[:MAX_SUITE_NAME].strip("-") or "cell",
        "description": f"{cell} at the sizes of the suite `{SIZES_SUITE}`",
        "measure": content_of(quick).get("measure", {}),
        "sweep": [
            {"cell": cell, "reference": reference, "input": input, **sizes, "implementation": implementations}
            for sizes in _sizes(quick)
        ],
    }


def _sizes(file: Path) -> list[dict[str, object]]:
    """Return the phases and sizes of a suite's sweeps over cells of one layer."""
    from rnnbench.suite.suites import read_suite

    return [
        {axis: sweep.values[axis] for axis in ("phase", "batch_size", "seq_len", "hidden_size")}
        for sweep in read_suite(str(file)).sweeps
        if sweep.values["num_layers"] == [1]
    ]


def _checked(cell: str) -> Path:
    """Return the file of a cell, or its module; raises UserError if it is not there."""
    try:
        where = file_of(cell)
        fault = misnamed(cell)
    except ValueError as error:
        raise UserError(f"{cell}: {error}") from None
    file = Path(where)
    module = where.partition(".")[0]
    if where.endswith(".py"):
        fault = (fault or missing_name(file, cell)) if file.is_file() else f"no file {file}; expected FILE.py:CELL"
    elif not fault and PathFinder.find_spec(module, [*map(str, folders_here()), *sys.path]) is None:
        fault = f"no module {module} here, in src/ or installed; pip install -e ., or give FILE.py:CELL"
    if fault:
        raise UserError(f"{cell}: {fault}")
    return file


def _from_folder(cell: str, folder: Path) -> str:
    """Return the name of a cell with its file relative to a folder."""
    if not (where := file_of(cell)).endswith(".py"):
        return cell
    link = Path(where)  # which may lead elsewhere
    relative = Path(os.path.relpath(link.parent.resolve() / link.name, folder.resolve()))
    return cell.replace(where, relative.as_posix(), 1)


def missing_name(file: Path, cell: str) -> str:
    """Say that a file does not define a cell's name, as its text shows; empty if it does or may do so.

    The file is not run. One that takes all names of another module may define any name.
    """
    name = _class_name(cell)
    text = file.read_text("utf-8", "replace")
    if re.search(rf"\b({re.escape(name)}|__getattr__)\b|import \*", text):
        return ""
    defined = re.findall(r"^(?:class|def) (\w+)", text, re.MULTILINE)
    names = first_few(defined, MAX_NAMED) if defined else "none"
    return f"{file.name} has no class or function {name}{nearest(name, defined)}; it has {names}"


def write_cell(name: str, reference: Reference, folder: Path, *, whole: bool) -> tuple[Path, Path]:
    """Write `<name>.py` and `<name>.toml` into a folder; returns their paths. On UserError nothing is written.

    `whole`: write a module that runs the whole sequence instead of a cell.
    """
    is_word = keyword.iskeyword(name) or hasattr(builtins, name) or name == "self"
    if is_word or re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is None:
        raise UserError(
            f"{name!r} can't name a class: it must start with a letter, contain only letters, digits and underscores, "
            "and not be a keyword or a built-in name of Python; choose another name, such as MyCell"
        )
    cell = _render(f"{reference}.py.jinja", name, [], reference, whole=whole, is_hoistable=True)
    suite = _render("suite.toml.jinja", name, [f"{name}.py:{name}"], reference, whole=whole, is_hoistable=True)
    if find_spec(name) is not None or re.search(rf"^(from|import) .*\b{name}\b", cell, re.MULTILINE):
        raise UserError(f"{name} is an installed module or a name that a cell's file imports; choose another name")
    files = folder / f"{name}.py", folder / f"{name}.toml"
    _write(dict(zip(files, (cell, suite), strict=True)))
    return files


def write_suite(cells: Sequence[str], reference: Reference, folder: Path, *, whole: bool) -> Path:
    """Write a suite for existing classes into a folder, named after the first of them; returns its path.

    Raises UserError, and then nothing is written, if there is no such class or the suite exists already.
    """
    for cell in cells:
        if not is_cell(cell):
            raise UserError(f"{cell}: a suite for several cells needs each of them as FILE.py:CELL or PACKAGE:CELL")
        of_cell(cell, reference, whole=whole)  # names what is wrong
    name = _class_name(cells[0])
    places = [_from_folder(cell, folder) for cell in cells]
    suite = _render("suite.toml.jinja", name, places, reference, whole=whole, is_hoistable=False)
    file = folder / f"{name}.toml"
    _write({file: suite})
    return file


def _class_name(cell: str) -> str:
    return parsed(cell)[0].rpartition(":")[2]


def _write(texts: dict[Path, str]) -> None:
    """Write new files; raises UserError if a file exists already, and OSError if a file can't be written."""
    for file in filter(os.path.lexists, texts):
        raise UserError(f"{file} already exists; choose another name or another folder")
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _render(
    template: str, name: str, cells: Sequence[str], reference: Reference, *, whole: bool, is_hoistable: bool
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # which listing cases does not need

    templates = Environment(
        loader=PackageLoader("rnnbench.suite"),
        autoescape=False,  # noqa: S701 - Python and TOML, from names that were checked
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template(template).render(
        name=name,
        about=listed([_class_name(cell) for cell in cells] or [name]),
        cells=[json.dumps(cell) for cell in cells],
        step=f"{name}Step" if whole else name,  # the class that takes one step
        whole=whole,
        is_hoistable=is_hoistable,
        reference=reference,
        layer=LAYERS.get(reference, ""),
    )
