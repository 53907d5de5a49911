"""The only module that prints. Standard output has a command's result, standard error its progress and messages.

If standard output can't be written, the command fails: `OutputLost` ends it with a message. If standard error can't be
written, nothing changes: neither what a command does nor its exit code.
"""

import codecs
import errno
import io
import os
import select
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rnnbench.text import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import RenderableType

MAX_LINE = 600  # characters of a line on standard error; a text that it quotes may have millions
MAX_WIDTH, MIN_WIDTH = 100, 20  # columns of running text; longer lines are hard to read
READABLE = "rnnbench-readable"  # name of the error handler for characters that a stream's encoding does not have
PLAIN = {
    **{"µ": "u", "μ": "u", "±": "+-", "×": "x", "·": ".", "…": "...", "→": "->", "←": "<-", "↓": "v", "█": "#"},
    **dict.fromkeys("\N{HYPHEN}\N{NON-BREAKING HYPHEN}–—\N{MINUS SIGN}─━╴╶╸╺░", "-"),
    **dict.fromkeys("│┃", "|"),
}


class OutputLost(Exception):
    """Standard output can't be written. `is_unread`: its reader has closed the pipe."""

    def __init__(self, fault: OSError) -> None:
        self.is_unread = fault.errno == errno.EPIPE
        reason = "it is closed" if fault.errno == errno.EBADF else fault.strerror
        super().__init__(f"standard output can't be written: {reason}")


def say(text: str) -> None:
    """Print lines; on a terminal nothing in them moves the cursor."""
    _write(sys.stdout, f"{text}\n")


def wrapped(text: str, *, indent: int = 0, hang: int = 0) -> str:
    """Lines of at most the terminal's width and `MAX_WIDTH`; no word is cut, so that paths can be copied.

    `indent`: of the first line; `hang`: of the others.
    """
    width = min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
    return textwrap.fill(
        text,
        max(width, MIN_WIDTH),
        initial_indent=" " * indent,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def on_terminal(text: str) -> str:
    """A line that programs read: wrapped on a terminal, and whole in a pipe or a file."""
    return wrapped(text, hang=2) if sys.stdout.isatty() else text


def say_path(path: Path, *, err: bool = False) -> None:
    """Print the path of a result, byte for byte, so that a shell can use it; on a terminal as `say` does."""
    _write_bytes(sys.stderr if err else sys.stdout, os.fsencode(path) + b"\n")


def show(renderable: "RenderableType") -> None:
    """Print a table or a text of rich: on a terminal, with its width and in colour."""
    from rich.console import Console

    console = Console(file=sys.stdout)
    with console.capture() as captured:
        console.print(renderable)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def write(data: bytes) -> None:
    """Print encoded text, byte for byte; on a terminal as `say` does."""
    _write_bytes(sys.stdout, data)


def tell(text: str) -> None:
    """Print a message of rnnbench on standard error; of a long one only both ends, which say the most."""
    line = printable(text)
    if len(line) > MAX_LINE:
        line = f"{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}"
    note(f"rnnbench: {line}")


def note(text: str) -> None:
    """Print lines on standard error."""
    _write(sys.stderr, f"{text}\n")


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Meanwhile, errors of standard output raise OutputLost, those of standard error are ignored.

    Any text can be written, whatever the encoding. Streams that replace the process's own stay as they are.
    """
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(sys.__stdout__, _lose)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.__stderr__, _ignore)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Descriptor(io.RawIOBase):
    """Writes to a file descriptor until that fails; then calls `on_fault` once and discards all later data."""

    def __init__(self, descriptor: int, on_fault: Callable[[OSError], None]) -> None:
        self._descriptor = descriptor
        self._on_fault = on_fault
        self._is_lost = False

    def writable(self) -> bool:
        """Part of the interface of io.RawIOBase."""
        return True

    def fileno(self) -> int:
        """Part of the interface of io.RawIOBase."""
        return self._descriptor

    def isatty(self) -> bool:
        """Part of the interface of io.RawIOBase."""
        return os.isatty(self._descriptor)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Part of the interface of io.RawIOBase."""
        while not self._is_lost:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # a full pipe that another program made non-blocking
                select.select([], [self._descriptor], [])
            except OSError as fault:
                self._is_lost = True
                self._on_fault(fault)
        return memoryview(data).nbytes


def _guarded(stream: TextIO | None, on_fault: Callable[[OSError], None]) -> TextIO:
    """A stream with guarded writes; None stands for one that was closed when Python started."""
    raw = _Descriptor(-1 if stream is None else stream.fileno(), on_fault)
    encoding = "utf-8" if stream is None else stream.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, READABLE, line_buffering=True)


def _lose(fault: OSError) -> None:
    raise OutputLost(fault)


def _ignore(fault: OSError) -> None:
    """Do nothing: there is nowhere to report it."""


def _write(stream: TextIO, text: str) -> None:
    stream.write("\n".join(map(printable, text.split("\n"))) if stream.isatty() else text)
    stream.flush()


def _write_bytes(stream: TextIO, data: bytes) -> None:
    if stream.isatty():
        _write(stream, data.decode("utf-8", "replace"))
        return
    stream.flush()
    stream.buffer.write(data)
    stream.buffer.flush()


def _readable(fault: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler: keeps the bytes of file names, and replaces other characters with similar ones."""
    assert isinstance(fault, UnicodeEncodeError)
    letter = fault.object[fault.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), fault.start + 1
    plain = PLAIN.get(letter) or unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or "?", fault.start + 1


codecs.register_error(READABLE, _readable)
