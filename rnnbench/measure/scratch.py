"""Temporary folders that are gone at the end, and after a SIGKILL at the next start of any rnnbench."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rnnbench.errors import UserError

PREFIX = "rnnbench."


@contextlib.contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A new folder in the system's place for temporary files; raises UserError where it can't be made."""
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
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of this user whose owners have died: nobody holds their locks."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # it is gone, or another user's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its owner lives
        finally:
            os.close(lock)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    """A folder and its lock, which ends with the process."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # taken for abandoned before it could be locked
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)
