"""The small files in which Linux tells about itself, below /proc and /sys."""

from pathlib import Path


def file_text(file: Path, errors: str = "replace") -> str:
    """The content of a file without the white space around it; empty if the file can't be read.

    `errors`: what becomes of bytes that are not UTF-8; "surrogateescape" keeps them in the path of a file.
    """
    try:
        return file.read_text(encoding="utf-8", errors=errors).strip()
    except OSError:
        return ""
