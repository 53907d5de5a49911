"""A cell to start from: a small file that works, and a suite that measures it."""

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rnnbench.errors import UserError
from rnnbench.store.records import LAYERS, Reference


def write_cell(name: str, reference: Reference, folder: Path, *, whole: bool) -> tuple[Path, Path]:
    """Write `<name>.py` and `<name>.toml` into a folder; returns their paths. On UserError nothing is written.

    `whole`: write a module that runs the whole sequence instead of a cell.
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is None or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} can't name a class: it must start with a letter and contain only "
            "letters, digits and underscores, such as MyCell"
        )
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; create it first or give another")
    files = folder / f"{name}.py", folder / f"{name}.toml"
    for file in files:
        if file.exists():
            raise UserError(f"{file} already exists; choose another name or another folder")
    texts = render(name, reference, whole=whole)
    if find_spec(name) is not None or re.search(rf"^(from|import) .*\b{name}\b", texts[0], re.MULTILINE):
        raise UserError(f"{name} is an installed module or a name that a cell's file imports; choose another name")
    made: list[Path] = []
    try:
        for file, text in zip(files, texts, strict=True):
            with file.open("x", encoding="utf-8") as new:
                made.append(file)
                new.write(text)
    except OSError as error:
        for file in made:
            file.unlink()
        raise UserError(f"{folder}: can't be written: {error.strerror}; give another folder") from None
    return files


def render(name: str, reference: Reference, *, whole: bool) -> tuple[str, str]:
    """The texts of the two files."""
    templates = Environment(
        loader=PackageLoader("rnnbench.new_cell"),
        autoescape=False,  # Python and TOML, from a name that was checked
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    facts = {
        "name": name,
        "step": f"{name}Step" if whole else name,  # the class that takes one step
        "whole": whole,
        "reference": reference,
        "layer": LAYERS.get(reference, ""),
    }
    texts = [templates.get_template(file).render(facts) for file in (f"{reference}.py.jinja", "suite.toml.jinja")]
    return texts[0], texts[1]
