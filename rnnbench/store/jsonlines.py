"""Append-only JSON lines: every line is complete, except for a last one that was cut off and does not count."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store.record import clean, valid


def content_of(path: Path) -> bytes:
    """Return what a file holds; raises UserError if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None


def complete_lines(path: Path) -> bytes:
    """Return a file without a last line that was cut off; raises UserError if it can't be read."""
    content = content_of(path)
    return content[: content.rfind(b"\n") + 1]


def parsed(text: bytes) -> dict[str, Any]:
    """Return the object that some JSON holds; raises UserError if it holds none."""
    from pydantic_core import from_json

    content: dict[str, Any] = valid(from_json, text)
    if not isinstance(content, dict):
        raise UserError(f"expected an object, found {text[:40].decode(errors='replace')}")
    return content


def read(path: Path, parse: Callable[[dict[str, Any]], Any] = dict) -> Iterator[Any]:
    """Yield what `parse` makes of the object in every complete line of a file.

    Raises UserError with the place of a line that has no object, or that `parse` refuses.
    """
    for number, line in enumerate(complete_lines(path).split(b"\n")[:-1], 1):
        with placed(f"{path}, line {number}"):
            record = parse(parsed(line))
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
