"""The files of a report: which files stand beside a page, and how each is written, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.store.folder import write_whole


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
