"""The two sides of a check: which code, in which folder, with which interpreter."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench import suites
from rnnbench.errors import UserError
from rnnbench.harness.check import submodules, suite_repository
from rnnbench.harness.check.import_paths import PACKAGE, below, import_paths
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.harness.machine import git
from rnnbench.harness.machine.scratch import scratch

# Caches whose entries are known by a name: one side's extension would serve the other.
CACHES = ("TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR")


@dataclass(frozen=True)
class Side:
    """One of the two sides that are compared."""

    name: str  # base or head
    about: str  # for people: a revision, a folder, an interpreter
    suite: suites.Suite  # as this side has it; files of a user's own cells are relative to its folder
    python: str = sys.executable
    paths: tuple[Path, ...] = (PACKAGE_PARENT,)  # where rnnbench and a user's modules are imported from, first
    commit: str | None = None
    tree: Path | None = None  # the folder whose code is this side's: a repository's top, or the one that was given
    revision: str | None = None  # of a temporary tree
    empty_submodules: tuple[str, ...] = ()  # of a temporary tree: their commits are not on this machine
    folder: Path | None = None  # where its workers stand: its own copy of the current folder, if it has one
    variables: Mapping[str, str] = field(default_factory=dict)  # of its workers: the caches that it has for itself
    may_fork: bool = False  # its workers may be forked from one process: none of its cases uses CUDA
    imports: tuple[str, ...] = ()  # users' cells that its workers import first, so that what this changes stays

    @property
    def checked_out(self) -> dict[str, Any] | None:
        """The code of a commit in a temporary tree, as far as it decides what is run; None for any other side."""
        if self.commit is None or self.tree is None:
            return None
        tree = self.tree.resolve()
        within = [path.resolve().relative_to(tree) for path in self.paths if path.resolve().is_relative_to(tree)]
        return {
            "commit": self.commit,
            "suite": os.path.relpath(self.suite.file, self.tree),
            "paths": list(map(str, within)),
            "python": self.python,
        }

    @property
    def holds_rnnbench(self) -> bool:
        """Whether rnnbench itself is under test: the side's tree contains one, and workers import it."""
        return self.tree is not None and (self.tree / PACKAGE).is_file()

    def in_words(self, text: str) -> str:
        """The text with paths of a temporary tree replaced by git's names for them, such as `main:bench.toml`."""
        if self.tree is None or self.revision is None:
            return text
        for folder in (self.tree, self.tree.resolve()):
            text = text.replace(f"{folder}{os.sep}", f"{self.revision}:").replace(str(folder), self.revision)
        return text

    @contextmanager
    def errors_in_words(self) -> Iterator[None]:
        """Let errors name files of a temporary tree by their revision."""
        try:
            yield
        except UserError as error:
            is_below = any(f"{os.sep}{path}{os.sep}" in str(error) for path in self.empty_submodules)
            raise type(error)(self.in_words(str(error)) + (self.about_submodules if is_below else "")) from None

    @property
    def about_submodules(self) -> str:
        """The end of an error: which submodules are empty in a temporary tree, and how to get them; may be empty."""
        if not self.empty_submodules:
            return ""
        names = ", ".join(self.empty_submodules)
        return (
            f"; these submodules are empty in {self.revision}, since their commits are not on this machine: {names}; "
            "fetch them, or check the revision out and compare with its folder"
        )

    @property
    def root(self) -> Path:
        """The folder that files of a user's own cells are relative to."""
        return self.suite.file.parent.resolve()


class NewSuite(UserError):
    """The base is a revision that does not have the head's suite yet."""


@contextmanager
def sides(
    suite: suites.Suite,
    base: str | None,
    base_python: str | None,
    head_python: str | None,
    sources: Sequence[str] = (),
) -> Iterator[tuple[Side, Side]]:
    """Set up base and head; temporary files are removed at the end.

    `base`: a folder, a revision, or None for the head's own files. `sources`: folders of the repository that modules
    are imported from, beside the project's. Raises UserError if base is none of these, if it lacks the suite (NewSuite
    for a revision) or a source, if an interpreter is missing, or if nothing would differ.
    """
    if base == "":  # as a path it is the current folder, so a check in CI would compare the head with itself
        raise UserError("the base is empty (is a shell variable unset?); expected a revision or a folder")
    top = suite_repository.top(suite)
    own = [below(_head_tree(suite, top), source) for source in sources]
    pythons = [_interpreter(given, side) for given, side in ((base_python, "base"), (head_python, "head"))]
    with ExitStack() as stack:
        package = stack.enter_context(_package_alone())
        tree = _head_tree(suite, top)
        head = Side(
            "head", _about_head(suite, top), suite, pythons[1], import_paths(tree, suite.file, package, own), tree=tree
        )
        if base is None:
            if pythons[0] == pythons[1]:
                raise UserError(
                    "nothing to compare with: give `rnnbench check` --base main, --base RUN or --base-python PY"
                )
            base_side = replace(head, name="base", about="the same files", python=pythons[0])
        elif _is_folder(base, suite, top):
            base_side = _in_folder(Path(base).resolve(), base, suite, top, package, pythons[0], own)
        else:
            base_side = _at_revision(stack, base, suite, top, package, pythons[0], own)
        if pythons[0] == pythons[1] and base_side.suite.file.resolve() == suite.file.resolve():
            raise UserError(
                f"base {base}: nothing differs: that folder contains the head's own files; give another folder"
            )
        if pythons[0] != pythons[1]:
            base_side, head = (replace(side, about=f"{side.about}, {side.python}") for side in (base_side, head))
        yield _placed(base_side, tree, package), _placed(head, tree, package)


def at_commit(stack: ExitStack, suite: suites.Suite, commit: str, name: str, sources: Sequence[str] = ()) -> Side:
    """A commit in a temporary worktree, with the given suite's file in place of its own; the stack removes it.

    Raises UserError if the suite is not in a repository, git makes no worktree, its rnnbench is too old or it lacks one
    of the `sources`.
    """
    top = suite_repository.required_top(suite)
    within = suite_repository.required_path(suite, top)
    package = stack.enter_context(_package_alone())
    tree = stack.enter_context(git.worktree(top, commit, commit[:7]))
    file = tree / within
    if not file.parent.resolve().is_relative_to(tree.resolve()):
        raise UserError(f"{commit[:7]}: {within.parent} is a link out of the repository; no suite can be put there")
    try:
        if file.suffix == ".toml":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as fault:  # the commit has something else there
        raise UserError(f"{commit[:7]}: no suite can be put at {within}: {fault.strerror}") from None
    if file.suffix == ".toml":
        shutil.copyfile(suite.file, file)
    side = Side(
        name=name,
        about=commit[:7],
        suite=replace(suite, file=file),
        commit=commit,
        tree=tree,
        revision=commit[:7],
        empty_submodules=tuple(submodules.fill(top, commit, tree)),
    )
    with side.errors_in_words():
        paths = import_paths(tree, file, package, [below(top, source) for source in sources])
    return _placed(replace(side, paths=paths), top, package)


def _placed(side: Side, top: Path | None, scratch: Path) -> Side:
    """The side with the folder in which its workers stand, and with caches of its own below `scratch`.

    `top`: the tree of the current folder, of which the side may have a copy.
    """
    folder = Path.cwd()
    if side.tree is not None and top is not None and folder.is_relative_to(top.resolve()):
        own = side.tree / folder.relative_to(top.resolve())
        folder = next(place for place in (own, *own.parents) if place.is_dir())
    variables = {name: str(scratch / f"{side.name}-caches" / name.lower()) for name in CACHES}
    return replace(side, folder=folder, variables=variables)


def _suite_at(file: Path, suite: suites.Suite) -> suites.Suite:
    """The suite of the base's file; a class has the same suite on both sides."""
    return suites.read(str(file)) if file.suffix == ".toml" else replace(suite, file=file)


def _head_tree(suite: suites.Suite, top: Path | None) -> Path | None:
    """The folder with the head's code: the repository's top, or the suite's folder if there is no repository."""
    if top is None and not suites.is_shipped(suite.file):
        return suite.file.parent.resolve()
    return top


def _about_head(suite: suites.Suite, top: Path | None) -> str:
    state = git.state(top) if top else None
    if state is None:
        return f"folder {suite.file.parent}"
    return f"the working tree at {state['commit'][:7]}{', with uncommitted changes' if state['dirty'] else ''}"


def _in_folder(
    folder: Path,
    given: str,
    suite: suites.Suite,
    top: Path | None,
    package: Path,
    python: str,
    sources: Sequence[Path],
) -> Side:
    """The base in a folder, which has the suite at the same path as the head's repository, or at its top."""
    choices = _places(folder, suite, top)
    is_package = not suite.file.is_file()  # the suite of a class in it
    file = next((choice for choice in choices if choice.is_file() or is_package), None)
    if file is None:
        raise UserError(
            f"base {given}: the folder has no {' and no '.join(str(c.relative_to(folder)) for c in choices)}; "
            "give a folder that contains the suite"
        )
    paths = import_paths(folder, file, package, sources)
    return Side("base", f"folder {given}", _suite_at(file, suite), python, paths, tree=folder)


def _is_folder(base: str, suite: suites.Suite, top: Path | None) -> bool:
    """Return True if the base is a folder. If a revision has the same name, the folder counts only if it has the suite.

    Raises UserError if both could be meant.
    """
    if not Path(base).is_dir() or top is None or base.startswith((".", "/", "-")):
        return Path(base).is_dir()
    if (name := git.full_name(top, base)) is None:
        return True
    if any(place.is_file() for place in _places(Path(base), suite, top)):
        raise UserError(
            f"base {base}: both a folder and a revision have this name; give ./{base} for the folder, "
            f"or {name} for the revision"
        )
    return False


def _places(folder: Path, suite: suites.Suite, top: Path | None) -> list[Path]:
    """Return where a base's folder may have the suite: at its path in the repository, or at the top."""
    within = suite_repository.path(suite, top)
    return [*([folder / within] if within is not None else []), folder / suite.file.name]


def _at_revision(
    stack: ExitStack,
    base: str,
    suite: suites.Suite,
    top: Path | None,
    package: Path,
    python: str,
    sources: Sequence[Path],
) -> Side:
    """The base in a temporary worktree."""
    if top is None:
        why = suite_repository.why_no_top(suite)
        raise UserError(f"base {base}: {why}, and no folder has this name; give a folder that contains the suite")
    commit = git.commit(top, base)
    tree = stack.enter_context(git.worktree(top, commit, base))
    about, within = f"{base} ({commit[:7]})", suite_repository.path(suite, top)
    if within is None:
        raise UserError(f"base {base}: {suite_repository.why_no_path(suite, top)}")
    file = tree / within
    if suite.file.is_file() and not file.is_file():
        if (old := git.renamed_from(top, commit, within)) is None:
            raise NewSuite(
                f"base {base}: {commit[:7]} has no {within}: the suite is new, so there is nothing to compare"
            )
        file, about = tree / old, f"{about}, where the suite is {old}"
    side = Side(
        name="base",
        about=about,
        suite=suite,
        python=python,
        commit=commit,
        tree=tree,
        revision=base,
        empty_submodules=tuple(submodules.fill(top, commit, tree)),
    )
    with side.errors_in_words():
        return replace(side, suite=_suite_at(file, suite), paths=import_paths(tree, file, package, sources))


@contextmanager
def _package_alone() -> Iterator[Path]:
    """A folder of which only this rnnbench can be imported, so that another interpreter imports its own torch."""
    with scratch("package") as folder:
        (folder / "rnnbench").symlink_to(PACKAGE_PARENT / "rnnbench")
        yield folder


def _interpreter(given: str | None, side: str) -> str:
    """The interpreter that is given as a path, as a command or as the folder of a virtual environment."""
    if given is None:
        return sys.executable
    candidate = Path(given) / "bin" / "python"
    python = str(candidate.absolute()) if candidate.is_file() else shutil.which(given)
    if python is None:
        raise UserError(
            f"{side}: no such interpreter: {given}; expected a python, or the folder of a virtual environment"
        )
    return str(Path(python).absolute())
