"""Commits from before a suite was adopted: the files that they are lent, and faults that the head has mended.

A commit that lacks the suite, or a file of a cell that the suite names, is measured with the head's. A file that is
there is never replaced.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rnnbench.cells import file_of, is_own
from rnnbench.harness.machine import git
from rnnbench.suite.suites import Suite
from rnnbench.text import first_few

MAX_NAMED_FILES = 3  # files in a message


def lent_files(suite: Suite, repository: Path, within: Path) -> list[Path]:
    """Return the files that older commits are lent, relative to the repository: the suite, and the cells beside it.

    `within`: the path of the suite in the repository. Files outside of the repository are left out.
    """
    named = dict.fromkeys(name for case in suite.cases() for name in case.named_code if is_own(name))
    folder = suite.file.resolve().parent
    files = [repository / within, *((folder / file_of(name)).resolve() for name in named)]
    below = (file.relative_to(repository.resolve()) for file in files if file.is_relative_to(repository.resolve()))
    return [file for file in dict.fromkeys(below) if (repository / file).is_file()]


def lacking_files(suite: Suite, repository: Path, within: Path, commit: str) -> list[str]:
    """Return the files that a commit would be lent, as `lent_files` names them."""
    files = [file.as_posix() for file in lent_files(suite, repository, within)]
    there = git.present(repository, commit, files)
    return [file for file in files if file not in there]


def lend(files: Iterable[Path], repository: Path, tree: Path) -> tuple[str, ...]:
    """Copy the files that a tree lacks into it; returns their paths, relative to both folders."""
    lent = []
    for file in files:
        place = tree / file
        if place.exists() or place.is_symlink() or file.suffix not in (".py", ".toml"):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / file, place)
        lent.append(file.as_posix())
    return tuple(lent)


def in_words(lent: Iterable[str]) -> str:
    """Return `, with the head's bench.toml and cells.py`; empty if nothing was lent."""
    names = [*lent]
    return f", with the head's {first_few(names, MAX_NAMED_FILES)}" if names else ""


def mended_file(fault: Mapping[str, Any], changed: Iterable[str], tree: Path) -> str:
    """Return the file that the head has changed and in which a fault of the base's import arises; empty if none.

    `fault`: the reply of the base's worker: `arose_in`, the files whose code failed or lacked a name, and `lacks`, the
    modules that were not found. `changed`: the files that differ, or that the base was lent, relative to its `tree`.
    """
    files = {*changed}
    for name in fault.get("arose_in", ()):
        file = Path(name)
        if file.is_relative_to(tree) and (below := file.relative_to(tree).as_posix()) in files:
            return below
    for module in fault.get("lacks", ()):
        path = PurePosixPath(*module.split("."))
        for changed_file in sorted(files):
            ways = (PurePosixPath(changed_file).with_suffix(""), PurePosixPath(changed_file).parent)
            if changed_file.endswith(".py") and any(way.parts[-len(path.parts) :] == path.parts for way in ways):
                return changed_file
    return ""
