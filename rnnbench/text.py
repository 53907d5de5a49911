"""Text from strangers: what may be shown on a terminal, and what can be written to a file."""


def printable(text: str) -> str:
    """Replace every character that could move a terminal's cursor or end a line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def writable(text: str) -> str:
    """Replace the halves of surrogate pairs, which no UTF-8 file can hold.

    They come from JSON, from exceptions of a user's code, and from file names and arguments that are not UTF-8.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def encoded(text: str) -> bytes:
    """The text as bytes of UTF-8, whatever names it holds."""
    return writable(text).encode()
