"""What several processes of one test run need, and takes long to make: the first that needs it makes it for all."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

DONE = ".made"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` has filled, in this process of the test run or in another; tests may only read it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, also if making it failed
        if not (folder / DONE).exists():
            make(folder)
            (folder / DONE).touch()
    return folder
