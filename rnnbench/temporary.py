"""Temporary folders, of which none outlives its process for long: what a killed process leaves, the next one removes.

Each is inside of a folder with a file that the process holds locked, so any other process can ask whether it lives.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rnnbench.errors import UserError

PREFIX = "rnnbench."
LOCK = "lock"
UNFINISHED_LOCK = "lock.new"


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """Make a temporary folder that is removed at the end; raises UserError if there is no room for one.

    Folders of processes that were killed are removed before.
    """
    remove_abandoned()
    try:
        parent = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}."))
    except OSError as fault:
        raise no_room(fault) from None
    try:
        with _locked(parent):
            folder = parent / kind
            folder.mkdir(mode=stat.S_IRWXU)
            yield folder
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """Hold the lock of a folder. It gets its name when it is held, so nobody finds it free before."""
    try:
        lock = (parent / UNFINISHED_LOCK).open("w")
    except OSError as fault:
        raise no_room(fault) from None
    with lock:
        with suppress(OSError):  # a file system without locks: the folder stays if the process is killed
            fcntl.flock(lock, fcntl.LOCK_EX)
        (parent / UNFINISHED_LOCK).rename(parent / LOCK)
        yield


def no_room(fault: OSError) -> UserError:
    """Return the error that no temporary folder or file can be made, with the place and the remedy."""
    where = fault.filename or tempfile.gettempdir()
    return UserError(f"no temporary file can be made in {where}: {fault.strerror}; set TMPDIR to a folder with room")


def remove_abandoned() -> None:
    """Remove the temporary folders of this user whose processes have ended without doing so."""
    with suppress(OSError):  # no folder for temporary files: `scratch` says so
        for parent in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            if _is_abandoned(parent):
                shutil.rmtree(parent, ignore_errors=True)


def _is_abandoned(parent: Path) -> bool:
    """Return whether a folder is one that `scratch` of this user made, and no process holds it any more."""
    try:
        about = parent.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            return False
        with (parent / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, gone, or without a lock: not one of these
        return False
    return True
