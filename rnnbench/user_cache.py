"""The folder for what rnnbench makes once for a machine: built kernels, and the machine's rates."""

import os
import stat
from pathlib import Path

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder() -> Path | None:
    """Return `$XDG_CACHE_HOME/rnnbench`, by default `~/.cache/rnnbench`; it is made for the user alone if missing.

    Returns None if it can't be made or written to, is no folder of this user, or if others may write to it: what lies
    there is loaded as code.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        parent = named if named.is_absolute() else Path("~/.cache").expanduser()
        folder = parent / "rnnbench"
        folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        about = folder.lstat()  # not of what a link leads to
    except (OSError, RuntimeError):  # no home, or one that can't be written to
        return None
    is_own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & OTHERS_MAY_WRITE
    return folder if is_own and os.access(folder, os.W_OK) else None
