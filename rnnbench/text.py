"""Untrusted text: make it safe to show on a terminal, and possible to write to a file."""


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
