"""Files written whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

from rnnbench.errors import UserError


def write(folder: Path, content: Mapping[str, bytes]) -> None:
    """Files by their names below a folder; raises UserError where it can't be written."""
    for name, data in content.items():
        replace(folder / name, data, folder)


def replace(file: Path, data: bytes, asked: Path) -> None:
    """Write beside the file and rename, so that no reader ever sees half of it.

    Raises UserError, naming the path that was asked for, where that can't be done.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--out {asked}: can't be written: {error.strerror}; give another folder") from None
