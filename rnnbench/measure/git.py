"""What rnnbench asks of git, in words where git refuses."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.measure.scratch import scratch

# What git sets for its hooks, from which rnnbench may be run: it would name the repository in place of the folder.
OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
SECONDS = 60.0  # that git may take

# A repository can name programs of its own for these.
NO_PROGRAMS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


def state(folder: Path) -> dict[str, Any] | None:
    """The commit and whether files differ from it; None where `folder` is in no repository or git is missing."""
    commit = _ask(folder, "rev-parse", "HEAD")
    changed = _ask(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "dirty": bool(changed)}


def top(folder: Path) -> Path | None:
    """The top folder of the repository that `folder` lies in, if there is one."""
    found = _ask(folder, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def commit(repository: Path, revision: str) -> str:
    """The commit that a revision names; raises UserError where it names none."""
    found = _ask(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        hint = "; fetch the whole history (a shallow clone has only its tip)" if _is_shallow(repository) else ""
        raise UserError(f"--base {revision}: neither a folder nor a revision of {repository}{hint}")
    return found


@contextmanager
def worktree(repository: Path, revision: str) -> Iterator[Path]:
    """A temporary worktree of a revision, gone at the end, however that comes."""
    with scratch("base") as parent:
        tree = parent / "tree"
        try:
            _add_worktree(repository, revision, tree)
            yield tree
        finally:
            _run(repository, "worktree", "unlock", str(tree))  # it is locked where git was cut off while making it
            shutil.rmtree(parent, ignore_errors=True)
            _run(repository, "worktree", "prune")


def _add_worktree(repository: Path, revision: str, tree: Path) -> None:
    try:
        done = _run(repository, "worktree", "add", "--quiet", "--detach", "--", str(tree), revision)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"--base {revision}: git makes no worktree within {SECONDS:g} s; check it out and give its folder"
        ) from None
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise UserError(f"--base {revision}: git can't make a worktree: {said or 'it does not say why'}")


def _is_shallow(repository: Path) -> bool:
    return _ask(repository, "rev-parse", "--is-shallow-repository") == "true"


def _ask(folder: Path, *arguments: str) -> str | None:
    try:
        done = _run(folder, *arguments)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git without the repository's hooks and file watcher, out of reach of the terminal's Ctrl-C."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    return subprocess.run(
        ["git", "-C", str(folder), *NO_PROGRAMS, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment,
        start_new_session=True,
    )
