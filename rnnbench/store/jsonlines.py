"""Append-only JSON lines: every line is complete, except for a last one that was cut off and does not count."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rnnbench.errors import UserError
from rnnbench.store.record import Record, clean, valid

R = TypeVar("R", bound=Record)


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield every complete line of a file with its number; raises UserError if the file can't be read."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):  # or else the writer was cut off in the middle of it
                    yield number, line
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every complete line of a file as an object; raises UserError if one is none."""
    from pydantic_core import from_json

    for number, line in raw_lines(path):
        with placed(f"{path}, line {number}"):
            content = valid(from_json, line)
            if not isinstance(content, dict):
                raise UserError(f"expected an object, found {line[:40].decode(errors='replace')}")
        yield content


def read_records(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield the record in every complete line of a file; raises UserError, with the place, if a line holds none."""
    for number, line in raw_lines(path):
        with placed(f"{path}, line {number}"):
            record = kind.read(line)
        yield record


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Put a place before the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def append(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Add lines to a file, which is made if there is none; they are in it when this returns.

    An incomplete last line is removed first. If the disk does not take all lines, none of them stays and OSError is
    raised. Lone surrogates in the text are replaced, since no reader accepts them.
    """
    lines = b"".join(json.dumps(clean(record), separators=(",", ":")).encode() + b"\n" for record in records)
    with path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if end and file.read(1) != b"\n":
            end = path.read_bytes().rfind(b"\n") + 1
            file.truncate(end)
        try:
            while lines:  # a nearly full disk takes a part, and raises only when it is given the rest
                lines = lines[file.write(lines) :]
        except OSError:
            file.truncate(end)
            raise
