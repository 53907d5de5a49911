"""The two sides of a check: which code, in which folder, with which interpreter."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.harness.machine import git
from rnnbench.harness.machine.scratch import scratch
from rnnbench.suite import suites

PACKAGE = Path("rnnbench/__init__.py")
WORKER = Path("rnnbench/harness/worker/loop.py")
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
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
    def root(self) -> Path:
        """The folder that files of a user's own cells are relative to."""
        return self.suite.file.parent.resolve()

    def in_words(self, text: str) -> str:
        """Return the text with git's names for paths of a temporary tree, such as `main:bench.toml`."""
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
            f"; these submodules are empty in {self.revision}, since their commits are not checked out here: {names}; "
            "check them out, or check the revision out and compare with its folder"
        )


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

    `base`: a revision, a folder, or None for the head's own files; a folder with the name of a revision needs a `./`.
    `sources`: folders of the repository that modules are imported from, beside the project's. Raises UserError if base
    is none of these, if it lacks the suite (NewSuite for a revision) or a source, if an interpreter is missing, or if
    nothing would differ.
    """
    if base == "":  # as a path it is the current folder, so a check in CI would compare the head with itself
        raise UserError("the base is empty (is a shell variable unset?); expected a revision or a folder")
    python, own_python = (_interpreter(given, side) for given, side in ((base_python, "base"), (head_python, "head")))
    with ExitStack() as stack:
        project = Project(stack, suite, sources)
        top, about = project.repository, f"folder {suite.file.parent}"
        if state := git.state(top) if top else None:
            about = f"the working tree at {state['commit'][:7]}{', with uncommitted changes' if state['dirty'] else ''}"
        head = project.side("head", about, project.tree, suite.file)
        if base is None and python == own_python:
            raise UserError("give `rnnbench check` --base main, --base RUN or --base-python PY")
        if base is None:
            other = project.side("base", "the same files", project.tree, suite.file)
        elif Path(base).is_dir() and (top is None or base.startswith((".", "/")) or not git.full_name(top, base)):
            other = project.in_folder(base)
        elif top is None:
            why = project.why_no_repository()
            raise UserError(f"base {base}: {why}, and no folder has this name; give a folder that contains the suite")
        else:
            other = project.at_commit(base, "base", has_own_suite=True)
        if python == own_python and other.suite.file.resolve() == suite.file.resolve():
            raise UserError(
                f"base {base}: nothing differs: that folder contains the head's own files; give another folder"
            )
        added = ("", "") if python == own_python else (f", {python}", f", {own_python}")
        yield (
            replace(other, python=python, about=other.about + added[0]),
            replace(head, python=own_python, about=head.about + added[1]),
        )


class Project:
    """What a suite measures: the repository or folder that it is in, of which the sides have versions."""

    def __init__(self, stack: ExitStack, suite: suites.Suite, sources: Sequence[str] = ()) -> None:
        """Make a temporary folder, which the stack removes. Raises UserError if a source is not in the repository."""
        file, is_shipped = suite.file.resolve(), suites.is_shipped(suite.file)
        self._stack, self._suite = stack, suite
        self.repository = git.top(Path() if is_shipped else suite.file.parent)
        self.tree = self.repository or (None if is_shipped else file.parent)
        self.within: Path | None = None  # the path of the suite in the repository, if it measures anything of that
        if self.repository is not None and file.is_relative_to(self.repository):
            # A suite of rnnbench's own may lie in an environment below the repository.
            is_foreign = is_shipped and not (self.repository / WORKER).is_file()
            self.within = None if is_foreign else file.relative_to(self.repository)
        # A folder of which only this rnnbench can be imported, so that another interpreter imports its own torch.
        self._scratch = stack.enter_context(scratch("package"))
        (self._scratch / "rnnbench").symlink_to(PACKAGE_PARENT / "rnnbench")
        self._sources = []
        for given in sources:
            folder = Path(given).resolve()
            if not folder.is_dir():
                raise UserError(f"source {given}: no such folder; expected one that modules are imported from")
            if self.tree is None or not folder.is_relative_to(self.tree.resolve()):
                where = "there is no repository" if self.tree is None else f"it is not below {self.tree}"
                raise UserError(f"source {given}: {where}, so the base has no such folder")
            self._sources.append(folder.relative_to(self.tree.resolve()))

    def required(self) -> tuple[Path, Path]:
        """Return the repository and the path of the suite in it; raises UserError if there is none."""
        if self.repository is None:
            raise UserError(self.why_no_repository())
        if self.within is None:
            raise UserError(
                f"{self._suite.name} measures rnnbench's own cells, which are not in {self.repository}; "
                "give a suite of this repository"
            )
        return self.repository, self.within

    def why_no_repository(self) -> str:
        """Say why a suite is in no repository."""
        if not shutil.which("git"):
            return "git is not installed, or not on PATH"
        where = Path.cwd() if suites.is_shipped(self._suite.file) else self._suite.file.parent.resolve()
        return f"{where} is not in a git repository"

    def side(self, name: str, about: str, tree: Path | None, file: Path, **more: Any) -> Side:
        """Return a side whose code is that of a tree, with the suite of a file.

        Its workers import first from the folder of rnnbench (the tree's own, if it has one), the sources, the project
        nearest to the suite and the top of the tree, each with its `src`. They stand in the tree's copy of the current
        folder. Raises UserError.
        """
        made = Side(name, about, replace(self._suite, file=file), tree=tree, **more)
        with made.errors_in_words():
            paths, folder = [self._scratch], Path.cwd()
            if tree is not None:
                code = tree if (tree / WORKER).is_file() else self._scratch
                if (tree / PACKAGE).is_file() and code != tree:  # the other side's rnnbench would seem unchanged
                    raise UserError(
                        f"{tree}: its rnnbench is too old: it has no {WORKER}; choose a revision with this file"
                    )
                if lacking := [source for source in self._sources if not (tree / source).is_dir()]:
                    raise UserError(f"source {lacking[0]}: {tree} has no such folder; give one that both sides have")
                places = (nearest_project(tree, file), tree)
                own = [folder for place in places for folder in (place / "src", place) if folder.is_dir()]
                paths = [code, *(tree / source for source in self._sources), *own]
                if self.tree is not None and folder.is_relative_to(self.tree.resolve()):
                    copy = tree / folder.relative_to(self.tree.resolve())
                    folder = next(place for place in (copy, *copy.parents) if place.is_dir())
            variables = {cache: str(self._scratch / f"{name}-caches" / cache.lower()) for cache in CACHES}
            return replace(made, paths=tuple(dict.fromkeys(paths)), folder=folder, variables=variables)

    def in_folder(self, base: str) -> Side:
        """Return the base in a folder, which has the suite at its path in the repository or at the top."""
        folder, is_package = Path(base).resolve(), not self._suite.file.is_file()  # a package: of a class in it
        names = [*([self.within] if self.within else []), Path(self._suite.file.name)]
        name = next((name for name in names if (folder / name).is_file() or is_package), None)
        if name is None:
            lacking = " and no ".join(map(str, names))
            raise UserError(f"base {base}: the folder has no {lacking}; give a folder that contains the suite")
        return self._with_own_suite(self.side("base", f"folder {base}", folder, folder / name))

    def at_commit(self, revision: str, name: str, *, has_own_suite: bool = False) -> Side:
        """Check a revision out into a temporary worktree, which the stack removes.

        It has the given suite's file in place of its own, unless `has_own_suite`. Raises UserError if git makes no
        worktree, or the revision's rnnbench is too old or lacks a source; NewSuite if it lacks its own suite.
        """
        top, within = self.required()
        commit = git.commit(top, revision)
        short = commit[:7]
        shown, about = (revision, f"{revision} ({short})") if has_own_suite else (short, short)
        tree = self._stack.enter_context(git.worktree(top, commit, shown))
        file = tree / within
        if has_own_suite and self._suite.file.is_file() and not file.is_file():
            if (old := git.renamed_from(top, commit, within)) is None:
                raise NewSuite(
                    f"base {shown}: {short} has no {within}: the suite is new, so there is nothing to compare"
                )
            file, about = tree / old, f"{about}, where the suite is {old}"
        elif not has_own_suite and file.suffix == ".toml":
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._suite.file, file)
            except OSError as fault:  # the commit has something else there
                raise UserError(f"{short}: no suite can be put at {within}: {fault.strerror}") from None
        empty = tuple(_fill_submodules(top, commit, tree))
        side = self.side(name, about, tree, file, commit=commit, revision=shown, empty_submodules=empty)
        own = self._with_own_suite(side)  # also if it is not used: a commit without a cell's file is told
        return own if has_own_suite else side

    def _with_own_suite(self, side: Side) -> Side:
        """Return a side with the settings of its own file; a class has the same suite on both sides."""
        file = side.suite.file
        with side.errors_in_words():
            return replace(side, suite=suites.read(str(file))) if file.suffix == ".toml" else side


def nearest_project(tree: Path, suite_file: Path) -> Path:
    """Return the folder of a suite's project: the nearest one above it with a `pyproject.toml` or the like.

    It is the top of the tree if no folder between has one, or if the suite lies outside of it.
    """
    top = tree.resolve()
    above = [folder for folder in suite_file.resolve().parents if folder.is_relative_to(top) and folder != top]
    return next((folder for folder in above if any((folder / name).is_file() for name in PROJECT_FILES)), tree)


def _fill_submodules(checkout: Path, commit: str, tree: Path) -> list[str]:
    """Write the files of submodules into a worktree, which git leaves empty; return the paths of those that stay so.

    Each comes from the user's own checkout of it. Downloads nothing and touches no index.
    """
    empty = []
    listed = os.fsdecode(git.run(checkout, "ls-tree", "-r", "-z", commit).stdout).split("\0")
    for about, _, path in (line.partition("\t") for line in listed if line.startswith("160000 ")):
        linked, own, folder = about.split()[2], checkout / path, tree / path
        git_dir = git.folder_of(own, "--absolute-git-dir") if (own / ".git").exists() else None
        write = ("read-tree", "--reset", "-u", "--no-sparse-checkout", "--no-recurse-submodules", linked)
        with tempfile.TemporaryDirectory() as index:
            places = {"GIT_WORK_TREE": str(folder), "GIT_INDEX_FILE": f"{index}/index", "GIT_DIR": str(git_dir)}
            if git_dir is None or git.run(folder, *write, **places).returncode:
                empty.append(path)
            else:
                empty += [f"{path}/{below}" for below in _fill_submodules(own, linked, folder)]
    return empty


def _interpreter(given: str | None, side: str) -> str:
    """Return the interpreter that is given as a path, as a command or as the folder of a virtual environment."""
    if given is None:
        return sys.executable
    candidate = Path(given) / "bin" / "python"
    python = str(candidate.absolute()) if candidate.is_file() else shutil.which(given)
    if python is None:
        raise UserError(
            f"{side}: no such interpreter: {given}; expected a python, or the folder of a virtual environment"
        )
    return str(Path(python).absolute())
