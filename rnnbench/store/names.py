"""Names that a stranger's file may hold and that become paths: what each of them may be."""

import re
from pathlib import PurePosixPath

SUITE = "[A-Za-z0-9][A-Za-z0-9._-]*"  # also begins the name of a run's folder
PART = "p[0-9]{1,9}"
WORKER = f"({PART}-)?[0-9]{{1,9}}"
RUN = "[0-9A-Za-z]{0,32}"


def is_suite(name: str) -> bool:
    """Whether it names a suite, and so a run and its report."""
    return re.fullmatch(SUITE, name) is not None


def is_part(name: str) -> bool:
    """Whether it names a part of a run."""
    return re.fullmatch(PART, name) is not None


def is_worker(name: str) -> bool:
    """Whether it names a worker that times: a number, after the name of its part where there is one."""
    return re.fullmatch(WORKER, name) is not None


def is_run(name: str) -> bool:
    """Whether it is the id of a run; runs of older versions have an empty one."""
    return re.fullmatch(RUN, name) is not None


def is_inside(name: str) -> bool:
    """Whether it names a file below a folder, as long as no link leads elsewhere."""
    path = PurePosixPath(name)
    return bool(path.parts) and "\0" not in name and not path.is_absolute() and ".." not in path.parts
