"""The two sides of a check: which code, by which interpreter."""

import sys
from dataclasses import dataclass
from pathlib import Path

from rnnbench.measure.process import PACKAGE_PARENT


@dataclass(frozen=True)
class Side:
    """One of the two sides that are compared."""

    name: str  # base or head
    root: Path  # folder of the suite: what files of a user's own cells are relative to
    python: str = sys.executable
    paths: tuple[Path, ...] = (PACKAGE_PARENT,)  # where its rnnbench and its modules are imported from
    about: str = ""  # for people: a revision, a folder, an interpreter
