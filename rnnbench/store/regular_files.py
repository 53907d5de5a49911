"""Read files that somebody else may have made, without waiting for a pipe or reading without an end.

A name on the command line or in a folder may be a pipe without a writer, which blocks whoever opens it, or a device
such as `/dev/zero`, which has no end.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 256 << 20  # of a file that is read at once

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading bytes; raises OSError, also if it is something else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {KINDS.get(kind, 'something else')}, not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Read the whole of a regular file; raises OSError, also if it is larger than `max_bytes`."""
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes >> 20} MiB", str(path))
    return content


def no_file(file: Path) -> str:
    """Say that a file is not there, and where its link leads if it is one."""
    try:
        return f"{file} is a link to {file.readlink()}, which is not there"
    except OSError:  # no link, or a name that no file can have
        return f"no file {file}"


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Read the whole of a regular file as UTF-8; raises OSError as `read_bytes` does, and UnicodeDecodeError."""
    return read_bytes(path, max_bytes).decode("utf-8")


def read_end(path: Path, max_bytes: int) -> bytes:
    """Read at most the last `max_bytes` of a regular file; raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
        return file.read(max_bytes)


def within(folder: Path, name: str) -> Path | None:
    """The regular file of a folder with a name from a stranger's record; None if it is outside, or not a regular file.

    Links are followed before this is decided.
    """
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long for a name, with a zero byte in it, or a link to itself
        return None
