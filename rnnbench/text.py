"""Text that every part needs: untrusted text made safe to show and to write; errors, counts and durations in words."""

import math
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).parent
CELL_FOLDER = PACKAGE_FOLDER / "cells"
STANDARD = Path(sysconfig.get_path("stdlib"))
SITE_FOLDERS = {"site-packages", "dist-packages"}  # below the standard library's folder
NAMED_ERROR = re.compile(r"\w*(Error|Exception): ")
# Begins a message that has its cause in the last line.
IN_TORCHSCRIPT = "The following operation failed in the TorchScript interpreter."


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or end a line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def writable(text: str) -> str:
    """Replace the halves of surrogate pairs, which no UTF-8 file can hold.

    They come from JSON, from exceptions of a user's code, and from file names and arguments that are not UTF-8.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def encoded(text: str) -> bytes:
    """Return the text as bytes of UTF-8; see `writable`."""
    return writable(text).encode()


def message_of(error: BaseException) -> str:
    """Return an error's message. Its `__str__` may be a user's code: if that fails, the message says so."""
    try:
        return str(error)
    except Exception as fault:  # whatever a stranger's code raises
        return f"its message can't be shown, since its __str__ raises {type(fault).__name__}"


def first_line(error: BaseException) -> str:
    """Return the line of an error's message that says what is wrong, at most 300 characters; empty if it has none.

    It is the first one. TorchScript begins with a sentence about itself and a traceback of its own: there it is the
    last. A line that ends with a colon goes on in the next.
    """
    lines = [line.strip() for line in message_of(error).strip().splitlines() if line.strip()] or [""]
    if lines[0].startswith(IN_TORCHSCRIPT):
        return lines[-1][:300]
    if lines[0].endswith(":") and len(lines) > 1:
        return f"{lines[0]} {lines[1]}"[:300]
    return lines[0][:300]


def last_line(text: str) -> str:
    """Return the last line of a text that is not empty; empty if there is none."""
    return (text.strip().splitlines() or [""])[-1]


def error_in_words(error: BaseException) -> str:
    """Return `KeyError: 'h'`: an error's type and the first line of its message, or the type alone if it has none."""
    line = first_line(error)
    if NAMED_ERROR.match(line):  # which TorchScript hands on
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def ending(error: BaseException, what: str = "the cell") -> str:
    """Return `the cell called sys.exit(0) (file.py:12)`: an exception that would end the process, in words."""
    if isinstance(error, SystemExit):
        return f"{what} called sys.exit({first_line(error)}){place(error)}"
    return f"{what} raised {error_in_words(error)}{place(error)}"


def place(error: BaseException) -> str:
    """Return ` (file.py:12)`: the innermost line of a user's code that raised an error; empty if there is none."""
    frame = last_frame(error)
    return "" if frame is None else line_of(frame)


def last_frame(error: BaseException, *, of_call: bool = False) -> traceback.FrameSummary | None:
    """Return the innermost frame of a user's code that raised an error, or None; `of_call`: the outermost.

    The frames of torch, of Python's library and of rnnbench are none of a user's, but for those of rnnbench's cells.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_user(frame.filename)]
    return frames[0 if of_call else -1] if frames else None


def _is_of_user(filename: str) -> bool:
    path = Path(filename)
    if not path.is_absolute() or path.is_relative_to(CELL_FOLDER):
        return path.is_absolute()  # Python calls code without a file `<string>`
    torch_file = getattr(sys.modules.get("torch"), "__file__", None)
    if path.is_relative_to(PACKAGE_FOLDER) or (torch_file and path.is_relative_to(Path(torch_file).parent)):
        return False
    return not path.is_relative_to(STANDARD) or not SITE_FOLDERS.isdisjoint(path.parts)


def line_of(frame: traceback.FrameSummary) -> str:
    """Return ` (file.py:12)`: the line at which a frame is."""
    return f" ({Path(frame.filename).name}:{frame.lineno})"


def plural(number: int, noun: str) -> str:
    """Return `1 case`, `1,200 cases`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def first_few(words: Sequence[str], most: int) -> str:
    """Return `a, b, c and 47 more`: the first words as `listed`, and how many others there are."""
    return listed([*words[:most], *([f"{len(words) - most:,} more"] if len(words) > most else [])])


def rounded_up(seconds: float) -> str:
    """Return how long something is expected to take: `40 s`, `4 min`, `3 h`."""
    if seconds <= 90:
        return f"{max(1, math.ceil(seconds / 10)) * 10} s"
    if seconds <= 5400:
        return f"{max(1, math.ceil(seconds / 60)):,} min"
    return f"{max(1, math.ceil(seconds / 3600)):,} h"


def as_budget(seconds: float) -> str:
    """Return a duration as users type a budget, rounded up: `40s`, `4m`, `3h`."""
    return rounded_up(seconds).replace(",", "").replace(" min", "m").replace(" ", "")


def seconds_of(duration: str | float) -> float:
    """Return the seconds of `90`, `90s`, `5m` or `1h`; raises ValueError if it is not a duration longer than 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e-?\d+)?)\s*([smh]?)", str(duration))
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"{duration!r} is not a duration; expected for example 90s, 5m or 1h")
    return seconds


def share_of(value: str | float) -> float:
    """Return a share from `2%` or `0.02`; raises ValueError if it is not between 0% and 100%."""
    match = re.fullmatch(r"(\d*\.?\d+)(%?)", str(value))
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share < 1:
        raise ValueError(f"{value!r} must be between 0% and 100%, such as 2% or 0.02")
    return share


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return ` (did you mean X?)`, or an empty string if no candidate is similar."""
    matches = get_close_matches(word, list(candidates), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
