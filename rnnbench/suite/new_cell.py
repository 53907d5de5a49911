"""Write the files of a new cell, from the templates beside this module."""

import builtins
import json
import keyword
import os
import re
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rnnbench.cells import file_of, parsed
from rnnbench.errors import UserError
from rnnbench.store.records import LAYERS, Reference
from rnnbench.suite.cell_suite import of_cell
from rnnbench.text import writable


def write_cell(name: str, reference: Reference, folder: Path, *, whole: bool) -> tuple[Path, Path]:
    """Write `<name>.py` and `<name>.toml` into a folder; returns their paths. On UserError nothing is written.

    `whole`: write a module that runs the whole sequence instead of a cell.
    """
    if keyword.iskeyword(name) or hasattr(builtins, name) or name == "self":
        raise UserError(f"{name!r} can't name a class: it is a word of Python; choose another name, such as MyCell")
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is None:
        raise UserError(
            f"{name!r} can't name a class: it must start with a letter and contain only "
            "letters, digits and underscores, such as MyCell"
        )
    cell = _render(f"{reference}.py.jinja", name, "", reference, whole=whole, is_hoistable=True)
    suite = _render("suite.toml.jinja", name, f"{name}.py:{name}", reference, whole=whole, is_hoistable=True)
    if find_spec(name) is not None or re.search(rf"^(from|import) .*\b{name}\b", cell, re.MULTILINE):
        raise UserError(f"{name} is an installed module or a name that a cell's file imports; choose another name")
    files = folder / f"{name}.py", folder / f"{name}.toml"
    _write(dict(zip(files, (cell, suite), strict=True)), folder)
    return files


def write_suite(cell: str, reference: Reference, folder: Path, *, whole: bool) -> Path:
    """Write `<name>.toml`, a suite for an existing class, into a folder; returns its path.

    Raises UserError, and then nothing is written, if there is no such class or the suite exists already.
    """
    of_cell(cell, reference, whole=whole)  # names what is wrong
    where, name = file_of(cell), parsed(cell)[0].rpartition(":")[2]
    if where.endswith(".py"):
        link = Path(where)  # which may lead elsewhere
        relative = os.path.relpath(link.parent.resolve() / link.name, folder.resolve())
        cell = cell.replace(where, Path(relative).as_posix(), 1)
    if writable(cell) != cell:
        raise UserError(f"{writable(cell)}: its name is not UTF-8, and a suite's file must be; rename it first")
    file = folder / f"{name}.toml"
    _write({file: _render("suite.toml.jinja", name, cell, reference, whole=whole, is_hoistable=False)}, folder)
    return file


def _write(texts: dict[Path, str], folder: Path) -> None:
    """Write new files, all or none; raises UserError if one is there already or can't be written."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; create it first or give another")
    for file in texts:
        if os.path.lexists(file):
            raise UserError(f"{file} already exists; choose another name or another folder")
    try:
        for file, text in texts.items():
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        for file in filter(os.path.lexists, texts):
            file.unlink()
        raise UserError(f"{folder}: can't be written: {error.strerror}; give another folder") from None


def _render(template: str, name: str, cell: str, reference: Reference, *, whole: bool, is_hoistable: bool) -> str:
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
        cell=json.dumps(cell),
        step=f"{name}Step" if whole else name,  # the class that takes one step
        whole=whole,
        is_hoistable=is_hoistable,
        reference=reference,
        layer=LAYERS.get(reference, ""),
    )
