"""Write files into folders that may hold somebody else's files, never through a link, a pipe or a device."""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from rnnbench.store.regular_files import KINDS


def replace(file: Path, data: bytes) -> None:
    """Write a new file beside `file` and rename it, so that no reader ever sees half of it; raises OSError.

    A link is replaced and not followed. A pipe or a device is refused, and so is a folder.
    """
    with contextlib.suppress(FileNotFoundError):
        _refuse_special(file.lstat().st_mode, file, (stat.S_IFREG, stat.S_IFLNK))
    temporary = file.with_name(f".rnnbench-{secrets.token_hex(4)}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(data)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_to_append(file: Path) -> int:
    """Open a regular file to read and append, made if there is none; returns its descriptor.

    Raises OSError, also if it is a link, a pipe or a device.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(file, flags, 0o644)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, and is not written through", str(file)) from None
        raise
    try:
        _refuse_special(os.fstat(descriptor).st_mode, file, (stat.S_IFREG,))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_special(mode: int, file: Path, allowed: tuple[int, ...]) -> None:
    kind = stat.S_IFMT(mode)
    if kind not in allowed:
        raise OSError(errno.EINVAL, f"it is {KINDS.get(kind, 'something else')}, not a regular file", str(file))
