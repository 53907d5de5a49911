"""Text that every part needs: untrusted text made safe to show and to write, and counts and durations in words."""

import math


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or end a line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def writable(text: str) -> str:
    """Replace the halves of surrogate pairs, which no UTF-8 file can hold.

    They come from JSON, from exceptions of a user's code, and from file names and arguments that are not UTF-8.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def encoded(text: str) -> bytes:
    """The text as bytes of UTF-8; see `writable`."""
    return writable(text).encode()


def plural(number: int, noun: str) -> str:
    """`1 case`, `1,200 cases`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def about(seconds: float) -> str:
    """A duration that is an estimate: `about 40 s`, `about 4 min`, `about 3 h`, rounded up."""
    for most, step, unit, size in ((90, 10, "s", 1), (5400, 60, "min", 60), (math.inf, 3600, "h", 3600)):
        whole = max(1, math.ceil(seconds / step)) * step
        if whole <= most:
            return f"about {whole // size:,} {unit}"
    raise ValueError(f"expected a number of seconds, found {seconds}")
