"""Whose a file of compiled code is: what rnnbench finds by itself is loaded only if nobody else can have written it."""

import atexit
import grp
import os
import pwd
import stat
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from rnnbench.store.user_cache import private_folder
from rnnbench.temporary import scratch

ROOT = 0
UNMAPPED = 65534  # whose files root's are within a container of a user's own


def why_not_trusted(path: Path) -> str:
    """Return why another user can have written a file, or in a folder; empty if only the caller and root can.

    So it is if they own it, and every folder above it, and no other may write there. In a folder such as /tmp everybody
    may write, but nobody may rename or remove what is another's.
    """
    for place in dict.fromkeys((path.absolute(), path.resolve())):
        for each in (place, *place.parents):
            status = each.lstat()
            owners = {ROOT, os.geteuid()} | ({UNMAPPED} if each != place else set())
            if status.st_uid not in owners:
                return f"{each} belongs to {_user(status.st_uid)}"
            is_restricted = each != place and bool(status.st_mode & stat.S_ISVTX)
            if stat.S_ISLNK(status.st_mode) or is_restricted:
                continue
            if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)):
                return f"others can write to {each}"
    return ""


def _is_own_group(number: int) -> bool:
    """Return whether a group has no other member than the caller, as the first group of a user often has."""
    try:
        group = grp.getgrgid(number)
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return user.pw_gid == number and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user with the number {number}"


def compiler_folder() -> tuple[Path, str]:
    """Return the folder in which torch keeps compiled code, and why it is not trusted; empty if it is.

    A folder that the user has named is the user's choice.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir  # takes a second to import

    folder = Path(cache_dir())
    is_default = folder == Path(default_cache_dir()).absolute()
    return folder, why_not_trusted(folder) if is_default else ""


def trusted_folder(file: str) -> Path:
    """Return the folder in which a kernel is looked for: the user's cache, or else a new folder of this process."""
    folder = private_folder()
    if folder is None or why_not_trusted(folder):
        return process_folder()
    is_there = os.path.lexists(folder / file)
    return process_folder() if is_there and why_not_trusted(folder / file) else folder


@cache
def process_folder() -> Path:
    """Return a folder that only the caller can read; it is removed at the end of the process."""
    stack = ExitStack()
    folder = stack.enter_context(scratch("products"))
    atexit.register(stack.close)
    return folder
