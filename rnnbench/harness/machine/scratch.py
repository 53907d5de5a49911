"""Temporary folders that are removed at the end, or after a SIGKILL at the next start of any rnnbench.

Only folders that rnnbench made are removed: each holds a marker file with the path and the inode of the folder. So a
folder with a similar name, and a folder that somebody copied or moved, is left alone.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rnnbench.errors import UserError

PREFIX = "rnnbench."
MARKER = ".rnnbench-scratch"
MAX_MARKER = 1 << 14  # bytes; longer than any path


@contextlib.contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A new folder in the system's folder for temporary files; raises UserError if it can't be made."""
    try:
        parent = Path(tempfile.gettempdir())
        remove_abandoned(parent)
        folder, lock = _make(parent, f"{PREFIX}{kind}.")
    except OSError as fault:
        raise UserError(
            f"no temporary folder can be made: {fault.strerror}; set TMPDIR to a folder that has room"
        ) from None
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove folders that rnnbench made and whose owners have died: no process holds their locks."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # it is gone, belongs to another user, or is not a folder
        try:
            if not _is_marked(folder, lock):  # and not locked either: it may have nothing to do with rnnbench
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_marked(folder, lock):
                _remove(folder)
        except OSError:
            continue  # its owner is still running
        finally:
            os.close(lock)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    """A marked folder and the descriptor of its lock, which the system releases when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / MARKER).write_bytes(_mark(folder, lock))  # after locking, so that nobody removes it as abandoned
    return folder, lock


def _mark(folder: Path, descriptor: int) -> bytes:
    """The content of a folder's marker; a copied folder has another inode, and a moved one another path."""
    facts = os.fstat(descriptor)
    return f"{facts.st_dev} {facts.st_ino} ".encode() + os.fsencode(os.path.realpath(folder)) + b"\n"


def _is_marked(folder: Path, descriptor: int) -> bool:
    """Whether rnnbench made this folder, and for this user."""
    if os.fstat(descriptor).st_uid != os.getuid():
        return False
    try:
        marker = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    except OSError:
        return False  # no marker
    try:
        return stat.S_ISREG(os.fstat(marker).st_mode) and os.read(marker, MAX_MARKER) == _mark(folder, descriptor)
    finally:
        os.close(marker)


def _remove(folder: Path) -> None:
    """Remove the content first and the marker last, so that the next start can finish an interrupted removal."""
    with contextlib.suppress(OSError):  # it is gone already, or the next start tries again
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != MARKER:
                entry.unlink()
        if {entry.name for entry in folder.iterdir()} <= {MARKER}:
            (folder / MARKER).unlink(missing_ok=True)
            folder.rmdir()
