"""Names that become paths and may come from a stranger's file, and what is allowed in each."""

import re
from pathlib import PurePosixPath

SUITE = "[A-Za-z0-9][A-Za-z0-9._-]*"  # also begins the name of a run's folder
PART = "p[0-9]{1,9}"
WORKER = f"({PART}-)?[0-9]{{1,9}}"
RUN = "[0-9A-Za-z]{0,32}"


def is_suite(name: object) -> bool:
    """Whether this is a valid name for a suite, and so for a run and its report."""
    return isinstance(name, str) and re.fullmatch(SUITE, name) is not None


def is_part(name: object) -> bool:
    """Whether this is a valid name for a part of a run."""
    return isinstance(name, str) and re.fullmatch(PART, name) is not None


def is_worker(name: object) -> bool:
    """Whether this is a valid name for a worker that times: a number, after the name of its part if there is one."""
    return isinstance(name, str) and re.fullmatch(WORKER, name) is not None


def is_run(name: object) -> bool:
    """Whether this is a valid id of a run; runs of older versions have an empty one."""
    return isinstance(name, str) and re.fullmatch(RUN, name) is not None


def is_inside(name: object) -> bool:
    """Whether this is a path below a folder, provided that no link leads elsewhere."""
    if not isinstance(name, str) or not name.isprintable():
        return False
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
