"""What rnnbench makes once for a machine: the folder of built kernels, and files of rates and pulses in it."""

import hashlib
import json
import math
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.store.folder import write_whole
from rnnbench.store.stored_record import content_of, parsed

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


class CacheFile:
    """A JSON file of the user's cache, which holds for one machine and its software; no file without a folder."""

    def __init__(self, folder: Path | None, kind: str, about: Any) -> None:
        """`kind`: `rates`, say; `about`: what the content holds for, as JSON. Other values lead to another file."""
        text = json.dumps(about, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._path = None if folder is None else folder / f"{kind}-{digest}.json"

    def read(self, max_age_seconds: float = math.inf) -> dict[str, Any]:
        """Return the content of the file; empty if there is no file, if it is older, or if it can't be read."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            is_old = time.time() - self._path.stat().st_mtime > max_age_seconds
            return {} if is_old else parsed(content_of(self._path))
        except (UserError, OSError):  # cut off, or removed meanwhile
            return {}

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the content of the file, if that is possible: a cache is no reason to end a run."""
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(content).encode())
        except OSError:  # the disk is full, say
            return
