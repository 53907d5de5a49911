"""Append-only JSON lines: a line is whole, or it is the torn last one and does not count."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rnnbench.errors import UserError


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a file; raises UserError where one that is not the last can't be read."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # the writer was cut off in the middle of it
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not JSON: {error}") from None
            if not isinstance(record, dict):
                raise UserError(f"{path}, line {number}: want an object, found {line[:40].decode(errors='replace')}")
            yield record


class Appender:
    """A file that is opened at its first line, and that holds each line as soon as `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def append(self, record: dict[str, Any]) -> None:
        """Add one line, in one write; raises OSError where the disk does not take all of it, and leaves none of it."""
        if self._file is None:
            _cut_torn_line(self.path)
            self._file = self.path.open("ab", buffering=0)
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            while line:  # a disk that is nearly full takes a part, and says so only when it is given the rest
                line = line[self._file.write(line) :]
        except OSError:
            _cut_torn_line(self.path)
            raise

    def close(self) -> None:
        """Close the file, if a line was ever added."""
        if self._file is not None:
            self._file.close()


def _cut_torn_line(path: Path) -> None:
    """Remove what follows the last line end, so that the next line starts as one of its own."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
