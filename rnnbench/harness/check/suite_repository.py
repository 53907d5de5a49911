"""The repository whose code a suite measures: the suite's own, or the current folder's for a shipped suite."""

import shutil
from pathlib import Path

from rnnbench import suites
from rnnbench.errors import UserError
from rnnbench.harness.check.import_paths import WORKER
from rnnbench.harness.machine import git


def top(suite: suites.Suite) -> Path | None:
    """The top folder of the repository whose code a suite measures; None if there is none."""
    return git.top(Path() if suites.is_shipped(suite.file) else suite.file.parent)


def required_top(suite: suites.Suite) -> Path:
    """As `top`; raises UserError if there is no repository."""
    if (found := top(suite)) is None:
        raise UserError(why_no_top(suite))
    return found


def why_no_top(suite: suites.Suite) -> str:
    """Why a suite has no repository."""
    if not shutil.which("git"):
        return "git is not installed, or not on PATH"
    where = Path.cwd() if suites.is_shipped(suite.file) else suite.file.parent.resolve()
    return f"{where} is not in a git repository"


def path(suite: suites.Suite, top: Path | None) -> Path | None:
    """The path of a suite in the repository at `top`; None if it measures nothing of it."""
    file = suite.file.resolve()
    if top is None or not file.is_relative_to(top):
        return None
    is_foreign = suites.is_shipped(file) and not (top / WORKER).is_file()  # in an environment below the repository
    return None if is_foreign else file.relative_to(top)


def required_path(suite: suites.Suite, top: Path) -> Path:
    """As `path`; raises UserError if the suite measures nothing of the repository."""
    if (within := path(suite, top)) is None:
        raise UserError(why_no_path(suite, top))
    return within


def why_no_path(suite: suites.Suite, top: Path) -> str:
    """Why a suite has no path in the repository at `top`."""
    own = f"{suite.name} measures rnnbench's own cells, which are not in {top}"
    return f"{own}; give a suite of this repository"
