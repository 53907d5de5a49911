"""The only module that prints. Standard output has a command's result, standard error its progress and messages.

If standard output can't be written, the command ends: with 141 if nobody reads it any more, else with 2 and a message.
If standard error can't be written, nothing changes.
"""

import io
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.errors import UserError
from rnnbench.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

UNREAD = 141  # exit code, as for a program that SIGPIPE kills
MAX_LINE = 600  # characters of a line on standard error; a text that it quotes may have millions
MAX_LINE_WIDTH = 100  # columns of running text; longer lines are hard to read
MIN_LINE_WIDTH = 20  # columns, on any terminal
MAX_ANSWER_LINES = 3  # of an answer above a path
AT_THE_END = re.compile(r"(?: |\x1b\[[\d;]*m)+$", re.MULTILINE)  # of a line: spaces, and codes of colours between them


def say(text: str) -> None:
    """Print lines; on a terminal nothing in them moves the cursor."""
    write(text + "\n")


def write(data: str | bytes) -> None:
    """Print text, or bytes as they are; on a terminal nothing in them moves the cursor."""
    if sys.stdout is not None and sys.stdout.isatty():
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        data = "\n".join(map(printable, text.split("\n")))
    _echo(data)


def write_json(content: Mapping[str, object]) -> None:
    """Print one JSON object on a line."""
    write(json.dumps(content, allow_nan=False) + "\n")


def _echo(data: str | bytes) -> None:
    """Print what a terminal may get; ends the command if standard output can't be written."""
    try:
        click.echo(data, nl=False)
    except OSError as fault:
        _discard(1)
        if isinstance(fault, BrokenPipeError):
            raise SystemExit(UNREAD) from None
        raise UserError(f"standard output can't be written: {fault.strerror}") from None


def show(renderable: "RenderableType") -> None:
    """Print a table or a text of rich: on a terminal, with its width and in colour."""
    from rich.console import Console

    # rich itself would end the program at a broken pipe
    screen = Console(file=sys.stdout)
    text = io.StringIO()
    Console(file=text, force_terminal=screen.is_terminal, width=screen.width).print(renderable)
    _echo(AT_THE_END.sub(lambda end: end[0].replace(" ", ""), text.getvalue()))  # rich fills lines with spaces


def say_path(path: Path, *, err: bool = False) -> None:
    """Print the path of a result, byte for byte, so that a shell can use it."""
    if err:
        note(os.fsencode(path))
    else:
        write(os.fsencode(path) + b"\n")


def tell(text: str) -> None:
    """Print lines on standard error, each after `rnnbench:`; of a long line only both ends, which say the most."""
    for line in map(printable, text.splitlines()):
        is_long = len(line) > MAX_LINE
        note(f"rnnbench: {line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}" if is_long else f"rnnbench: {line}")


def note(text: str | bytes) -> None:
    """Print lines on standard error."""
    try:
        click.echo(text, err=True)
    except OSError:
        _discard(2)


def _discard(descriptor: int) -> None:
    """Send what a broken stream holds nowhere: else Python tries again when it ends, and changes the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def wrapped(text: str, *, indent: int = 0, hang: int = 0) -> str:
    """Return lines of at most the terminal's width and `MAX_LINE_WIDTH`; no word is cut, so that paths can be copied.

    `indent`: of the first line; `hang`: of the others.
    """
    width = min(shutil.get_terminal_size((MAX_LINE_WIDTH, 24)).columns, MAX_LINE_WIDTH)
    return textwrap.fill(
        text,
        max(width, MIN_LINE_WIDTH),
        initial_indent=" " * indent,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def few_lines(sentences: Sequence[str]) -> str:
    """Return the first of these sentences, with as many of the next as have room in a few lines; see `wrapped`."""
    text, *others = sentences
    for sentence in others:
        longer = f"{text} {sentence}"
        if len(wrapped(longer).splitlines()) > MAX_ANSWER_LINES:
            break
        text = longer
    return wrapped(text)


def on_terminal(text: str, *, hang: int = 2) -> str:
    """Return a line that programs read: wrapped on a terminal, and whole in a pipe or a file; see `wrapped`."""
    return wrapped(text, hang=hang) if sys.stdout.isatty() else text
