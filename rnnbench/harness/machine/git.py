"""What rnnbench asks of git, in words where git refuses."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.machine import git_programs
from rnnbench.harness.machine.scratch import scratch

# What git sets for its hooks, from which rnnbench may be run: it would name the repository in place of the folder.
OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
SECONDS = 60.0  # that git may take
NO_REPOSITORY = "not a git repository (or any"  # git's words where no parent folder is one either

Done = subprocess.CompletedProcess[bytes]


class NoAnswer(UserError):
    """Git is not installed, or takes too long."""


def state(folder: Path) -> dict[str, Any] | None:
    """The commit and whether files differ from it; None where `folder` is in no repository or git can't tell."""
    try:
        commit, top = (_ask(folder, "rev-parse", what) for what in ("HEAD", "--show-toplevel"))
        if commit is None or top is None:
            return None
        return {"commit": commit, "dirty": _is_changed(Path(top))}
    except NoAnswer:
        return None


def top(folder: Path) -> Path | None:
    """The top folder of the repository that `folder` lies in; None where it is in none, or git is not installed.

    Raises UserError with git's own words where git finds a repository and refuses to work in it.
    """
    if shutil.which("git") is None:
        return None
    done = run(folder, "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        found = Path(_line(done))
        # A repository's own configuration can name any folder as its top.
        return found if folder.resolve().is_relative_to(found) else None
    said = _said(done)
    if NO_REPOSITORY in said:
        return None
    raise UserError(f"{folder}: git refuses to work in this repository: {said}")


def commit(repository: Path, revision: str) -> str:
    """The commit that a revision names; raises UserError where it names none."""
    found = _ask(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        hint = "; fetch the whole history (a shallow clone has only its tip)" if _is_shallow(repository) else ""
        raise UserError(f"base {revision}: neither a folder nor a revision of {repository}{hint}")
    return found


@contextmanager
def worktree(repository: Path, revision: str, name: str | None = None) -> Iterator[Path]:
    """A temporary worktree of a revision, gone at the end, however that comes; errors call it `name`."""
    with scratch("base") as parent:
        tree = parent / "tree"
        try:
            _add_worktree(repository, revision, tree, name or revision)
            yield tree
        finally:
            with suppress(NoAnswer):  # then the next one prunes it
                run(repository, "worktree", "unlock", str(tree))  # it is locked where git was cut off while making it
                shutil.rmtree(parent, ignore_errors=True)
                run(repository, "worktree", "prune")


def _add_worktree(repository: Path, revision: str, tree: Path, name: str) -> None:
    try:
        done = run(repository, "worktree", "add", "--quiet", "--detach", "--", str(tree), revision)
    except NoAnswer:
        raise UserError(
            f"base {name}: git makes no worktree within {SECONDS:g} s; check it out and give its folder"
        ) from None
    if done.returncode:
        hint = ""
        if _ask(repository, "config", "--get-regexp", r"^remote\..*\.promisor$"):
            hint = "; this clone is partial and rnnbench downloads nothing: check the revision out once, with git"
        raise UserError(f"base {name}: git can't make a worktree: {_said(done) or 'it does not say why'}{hint}")


def folder_of(folder: Path, which: str) -> Path | None:
    """The repository that a folder belongs to, by the name of `rev-parse`'s option; None where git can't tell."""
    found = _ask(folder, "rev-parse", "--path-format=absolute", which)
    return Path(found) if found else None


def files(tree: Path) -> list[str] | None:
    """The files of a repository's top folder that git tracks, submodules as one name; None where it is none."""
    done = run(tree, "ls-files", "-z")
    return os.fsdecode(done.stdout).split("\0")[:-1] if done.returncode == 0 else None


def submodules(tree: Path) -> list[Path]:
    """The folders of the submodules of a working tree, populated or not."""
    done = run(tree, "ls-files", "--stage", "-z")
    lines = os.fsdecode(done.stdout).split("\0")[:-1] if done.returncode == 0 else []
    return [tree / line.partition("\t")[2] for line in lines if line.startswith("160000 ")]


def run(folder: Path, *arguments: str, **variables: str) -> Done:
    """Run git in a folder, out of reach of the terminal's Ctrl-C; `variables` are added to its environment.

    No program runs that only the repository names (hooks, filters, ...), nothing is downloaded, and the user's index
    is not refreshed. Raises NoAnswer where git is not installed, or takes more than `SECONDS`.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    environment |= git_programs.QUIET | variables
    asked = _execute(folder, git_programs.QUESTION, environment)
    if asked.returncode > 1:  # neither found nor not found: its configuration can't be read
        return asked
    environment |= git_programs.overrides(asked.stdout, environment)
    return _execute(folder, arguments, environment)


def _execute(folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Done:
    command = ["git", "-C", str(folder), *git_programs.OFF, *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NoAnswer("git is not installed, or not on PATH") from None
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except BaseException as fault:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and with it what it has started
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()  # unread: what has left the process group may hold the other end
        if isinstance(fault, subprocess.TimeoutExpired):
            raise NoAnswer(f"{folder}: `git {arguments[0]}` gives no answer within {SECONDS:g} s") from None
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _ask(folder: Path, *arguments: str) -> str | None:
    done = run(folder, *arguments)
    return _line(done) if done.returncode == 0 else None


def _line(done: Done) -> str:
    """Its answer, which may hold a path with any bytes, line ends and spaces."""
    return os.fsdecode(done.stdout.removesuffix(b"\n"))


def _said(done: Done) -> str:
    """Why git refused, on one line: from its last `fatal:` or `error:` on."""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith(("fatal: ", "error: "))]
    return " ".join(lines[starts[-1] if starts else -1 :])


def _is_changed(top: Path) -> bool:
    """Whether tracked files differ from the commit, in submodules too; each is asked with its own configuration."""
    done = run(top, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    populated = (folder for folder in submodules(top) if (folder / ".git").exists())
    return bool(done.stdout) or any(_is_changed(folder) for folder in populated)


def _is_shallow(repository: Path) -> bool:
    return _ask(repository, "rev-parse", "--is-shallow-repository") == "true"
