"""The files of a report: which files stand beside a page, and how each is written, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.report.drawing.sheet import Picture
from rnnbench.report.tables.formats import as_csv, as_latex, as_markdown
from rnnbench.report.tables.table import Table
from rnnbench.store.folder import write_whole
from rnnbench.text import encoded


def beside(pictures: Mapping[str, Picture], tables: Mapping[str, Table]) -> dict[str, bytes]:
    """The files beside a page: each figure and each table in its formats."""
    contents: dict[str, bytes] = {}
    for name, picture in pictures.items():
        contents |= {f"figures/{name}.svg": encoded(picture.svg), f"figures/{name}.png": picture.png}
    for name, table in tables.items():
        contents |= {
            f"tables/{name}.csv": encoded(as_csv.render(table)),
            f"tables/{name}.md": encoded(as_markdown.render(table)),
            f"tables/{name}.tex": encoded(as_latex.render(table)),
        }
    return contents


def write(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write files below a folder, by their names; raises UserError if one can't be written."""
    for name, data in content.items():
        replace(folder / name, data, folder)


def replace(file: Path, data: bytes, asked: Path) -> None:
    """Write a file beside the target and rename it, so that no reader ever sees half of it.

    Raises UserError, which names the path `asked`, if it can't be written.
    """
    if file.is_dir():
        raise UserError(f"{file if file.name else asked}: can't be written: Is a directory; give a file in it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
    except OSError as error:
        raise UserError(f"{asked}: can't be written: {error.strerror}; give another folder") from None
