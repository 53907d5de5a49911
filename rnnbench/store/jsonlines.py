"""Append-only JSON lines: every line is complete, except for a last one that was cut off and does not count."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from rnnbench.errors import UserError
from rnnbench.store.regular_files import open_regular
from rnnbench.store.writing import open_to_append
from rnnbench.text import writable

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
PIECE_BYTES = 1 << 23  # of a file that are read at once into a table
AT_ONCE = 2  # pieces that are read at the same time
MAX_LINE_BYTES = 64 << 20  # a profile of 100,000 operators takes a quarter of it
TAIL_BYTES = 1 << 16  # of a file's end that are read at once


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every complete line of a file; raises UserError if one can't be read."""
    for number, line in raw_lines(path):
        yield record(path, number, line)


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every complete line of a file as it is, with its number; raises UserError if the file can't be read."""
    with _opened(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if not line.endswith(b"\n"):
                _refuse_endless(path, line)
                return  # the writer was cut off in the middle of it
            yield number, line


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as fault:
        raise UserError(f"{path}: can't be read: {fault.strerror}") from None


def _refuse_endless(path: Path, line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise UserError(f"{path}: can't be read: a line is longer than {MAX_LINE_BYTES >> 20} MiB")


def tables(path: Path, schema: "pa.Schema") -> Iterator["pa.Table"]:
    """The complete lines of a file as tables of about ten thousand rows, in order, with the fields of `schema` only.

    A field that a line lacks is null. Raises UserError if a complete line can't be read, or if a value does not have
    the type in the schema.
    """
    done = 0
    for piece, table in _ahead(_pieces(path), lambda piece: _quick_table(piece, schema)):
        yield table if table is not None else _table(path, done, piece, schema)
        done += piece.count(b"\n") if table is None else table.num_rows


def _ahead(pieces: Iterator[bytes], read: Callable[[bytes], T]) -> Iterator[tuple[bytes, T]]:
    """Each piece with the result of `read`; two are read at a time, since Arrow lets other threads run."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[tuple[bytes, Future[T]]] = deque()
        for piece in pieces:
            waiting.append((piece, pool.submit(read, piece)))
            if len(waiting) > AT_ONCE:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def _pieces(path: Path) -> Iterator[bytes]:
    """The complete lines of a file, many at a time."""
    with _opened(path) as file:
        while piece := file.read(PIECE_BYTES):
            rest = file.readline(MAX_LINE_BYTES + 1)
            piece += rest
            if not piece.endswith(b"\n"):
                _refuse_endless(path, rest)
                piece = piece[: piece.rfind(b"\n") + 1]  # the writer was cut off in the middle of the last one
            if piece:
                yield piece


def _quick_table(lines: bytes, schema: "pa.Schema") -> "pa.Table | None":
    """The lines as Arrow reads them; None if Arrow might read them differently from Python."""
    import pyarrow as pa
    import pyarrow.json as arrow_json

    count = lines.count(b"\n")
    # Arrow skips empty lines, splits `{}{}`, and crashes at a line that is `null`.
    if not (lines.isascii() and lines.startswith(b'{"') and lines.count(b'}\n{"') == count - 1):
        return None
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines),
            arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == count else None


def _table(path: Path, before: int, lines: bytes, schema: "pa.Schema") -> "pa.Table":
    """The lines as Python reads them, the first with number `before` + 1; slow, but an error names the line."""
    import pyarrow as pa

    records = []
    for number, line in enumerate(lines.split(b"\n")[:-1], before + 1):
        content = record(path, number, line)
        for field in schema:
            try:
                pa.scalar(content.get(field.name), field.type)
            except (ValueError, TypeError, OverflowError) as error:
                raise UserError(f"{path}, line {number}: {field.name}: expected {field.type}: {error}") from None
        records.append(content)
    return pa.Table.from_pylist(records, schema)


def record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """A line as an object; raises UserError, with the place, if it is none."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}, line {number}: expected an object, found {line[:40].decode(errors='replace')}")
    return content


class Appender:
    """A file that is opened for its first line, and that holds each line as soon as `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    def append(self, record: dict[str, Any]) -> None:
        """Add one line, in one write; if the disk does not take all of it, removes what was written and raises OSError.

        Lone surrogates in its text are replaced, since no reader accepts them.
        """
        if self._file is None:
            self._file = os.fdopen(open_to_append(self.path), "rb+", buffering=0)
            _cut_torn_line(self._file)
        line = json.dumps(clean(record), separators=(",", ":")).encode() + b"\n"
        try:
            while line:  # a nearly full disk takes a part, and raises only when it is given the rest
                line = line[self._file.write(line) :]
        except OSError:
            _cut_torn_line(self._file)
            raise

    def close(self) -> None:
        """Close the file, if a line was ever added."""
        if self._file is not None:
            self._file.close()


def clean(value: Any) -> Any:
    """A JSON value with text that every file can hold."""
    match value:
        case str():
            return writable(value)
        case dict():
            return {clean(key): clean(inner) for key, inner in value.items()}
        case list() | tuple():
            return [clean(inner) for inner in value]
    return value


def _cut_torn_line(file: FileIO) -> None:
    """Remove an incomplete last line, so that the next line starts as a new one."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - TAIL_BYTES)
        file.seek(start)
        piece = file.read(end - start)
        if b"\n" in piece:
            file.truncate(start + piece.rfind(b"\n") + 1)
            return
        end = start
    file.truncate(0)
