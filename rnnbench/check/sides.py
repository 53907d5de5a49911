"""The two sides of a check: which code, in which folder, with which interpreter, and which cases are compared.

The cases are measured by the settings of both sides: a commit can't loosen the check that judges it. The files of both
sides must stay as they are while it runs.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.decide import one_sided
from rnnbench.check.adoption import in_words, lend, lent_files
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.harness.machine import git
from rnnbench.project import module_folders, nearest_project
from rnnbench.store.folder import is_check
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import Case, Group
from rnnbench.suite import places, suites
from rnnbench.suite.outline import cases_of, grouped
from rnnbench.temporary import scratch

PACKAGE_FILE = Path("rnnbench/__init__.py")
# References that a commit can't change: they belong to torch, or to rnnbench. Another cell is a part of the code.
NOT_OF_THE_CODE: tuple[Implementation, ...] = ("torch.nn", "per_item")
INSTALLED_FOLDERS = {"site-packages", "dist-packages"}
# Folders of a tree with other projects' code, or with copies of the tree's own. Modules in them are not the tree's.
COPIED_FOLDERS = INSTALLED_FOLDERS | {"__pycache__", "build", "dist", "node_modules"}
COPIED_FOLDERS |= {"vendor", "vendored", "_vendor", "third_party", "thirdparty", "extern", "external"}
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
    tree: Path | None = None  # the folder whose code is this side's, resolved: a repository's top, or a given folder
    revision: str | None = None  # of a temporary tree
    folder: Path | None = None  # where its workers stand: its own copy of the current folder, if it has one
    variables: Mapping[str, str] = field(default_factory=dict)  # of its workers: the caches that it has for itself
    lent: tuple[str, ...] = ()  # the files that the base lacked and got from the head, relative to both trees

    @property
    def root(self) -> Path:
        """The folder that files of a user's own cells are relative to."""
        return self.suite.file.parent.resolve()

    @cached_property
    def files(self) -> frozenset[str]:
        """The files of the tree that git tracks, including those of submodules, or that it was lent, as paths below it.

        In a folder that is no repository, or in which git refuses to work (for example another user's), these are all
        files outside of hidden folders, environments, runs and `COPIED_FOLDERS`.
        """
        if self.tree is None:
            return frozenset()
        tracked = git.files(self.tree) if (self.tree / ".git").exists() else None
        return frozenset(_walk(self.tree) if tracked is None else (*tracked, *self.lent))

    def path(self, file: Path, other: "Side") -> str:
        """Return a file's path below the tree; empty outside, in an environment, or in the other side's tree there."""
        trees = [side.tree for side in (self, other) if side.tree and file.is_relative_to(side.tree)]
        if self.tree is None or max(trees, key=lambda tree: len(tree.parts), default=None) != self.tree:
            return ""
        path = file.relative_to(self.tree)
        return "" if INSTALLED_FOLDERS & set(path.parts) else "/".join(path.parts)

    def in_words(self, text: str) -> str:
        """Return the text with git's names for paths of a temporary tree, such as `main:bench.toml`."""
        if self.tree is None or self.revision is None:
            return text
        return text.replace(f"{self.tree}{os.sep}", f"{self.revision}:").replace(str(self.tree), self.revision)

    @contextmanager
    def errors_in_words(self) -> Iterator[None]:
        """Let errors name files of a temporary tree by their revision."""
        try:
            yield
        except UserError as error:
            raise type(error)(self.in_words(str(error))) from None


class NewSuite(UserError):
    """The base is a revision that has neither the head's suite nor anything that the suite measures."""


@contextmanager
def sides(
    suite: suites.Suite,
    base: str | None,
    base_python: str | None,
    sources: Sequence[str] = (),
    *,
    base_name: str | None = None,
) -> Iterator[tuple[Side, Side]]:
    """Set up base and head; temporary files are removed at the end.

    `base`: a revision, a folder, or None for the head's own files; a folder with the name of a revision needs a `./`.
    `sources`: folders of the repository that modules are imported from, beside the project's. `base_name`: what
    outputs call a revision. Raises UserError if base is none of these, if a folder lacks the suite, if it lacks a
    source, if the base's interpreter is missing, or if nothing would differ.
    """
    python = _interpreter(base_python)
    with ExitStack() as stack:
        project = Project(stack, suite, sources)
        top = project.repository
        about = f"folder {suite.file.parent}"
        if state := git.commit_and_changes(top) if top else None:
            about = f"the working tree at {state['commit'][:7]}{', with uncommitted changes' if state['dirty'] else ''}"
        head = project.side("head", about, project.tree, suite.file)
        if base is None and python == sys.executable:
            raise UserError("give `rnnbench check` --base main or --base-python PY")
        if base is None:
            other = project.side("base", "the same files", project.tree, suite.file)
        elif Path(base).is_dir() and (top is None or base.startswith((".", "/")) or not git.is_revision(top, base)):
            other = project.in_folder(base)
        else:
            other = project.at_commit(base, "base", has_own_suite=True, known_as=base_name)
        if python == sys.executable and other.suite.file.resolve() == suite.file.resolve():
            raise UserError(
                f"base {base}: nothing differs: that folder contains the head's own files; give another folder"
            )
        if python != sys.executable:
            other = replace(other, python=python, about=f"{other.about}, {python}")
            head = replace(head, about=f"{head.about}, {sys.executable}")
        yield other, replace(head, lent=other.lent)  # which git may not track here either


class Project:
    """What a suite measures: the repository or folder that it is in, of which the sides have versions."""

    def __init__(self, stack: ExitStack, suite: suites.Suite, sources: Sequence[str] = ()) -> None:
        """Make a temporary folder, which the stack removes. Raises UserError if a source is not in the repository."""
        file = suite.file.resolve()
        is_shipped = places.is_shipped(suite.file)
        self._stack = stack
        self._suite = suite
        self.repository = git.top(Path() if is_shipped else suite.file.parent)
        self.tree = self.repository or (None if is_shipped else file.parent)
        self.within: Path | None = None  # the path of the suite in the repository, if it measures anything of that
        if self.repository is not None and file.is_relative_to(self.repository):
            # A suite of rnnbench's own may lie in an environment below the repository.
            is_foreign = is_shipped and not (self.repository / PACKAGE_FILE).is_file()
            self.within = None if is_foreign else file.relative_to(self.repository)
        # A folder of which only this rnnbench can be imported, so that another interpreter imports its own torch.
        self._scratch = stack.enter_context(scratch("package"))
        (self._scratch / "rnnbench").symlink_to(PACKAGE_PARENT / "rnnbench")
        self._sources = []
        for folder in map(Path, sources):
            if self.tree is None or not folder.resolve().is_relative_to(self.tree):
                raise UserError(
                    f"source {folder}: it is not below {self.tree or 'a repository'}; give a folder that is"
                )
            self._sources.append(folder.resolve().relative_to(self.tree))

    def required(self) -> tuple[Path, Path]:
        """Return the repository and the path of the suite in it; raises UserError if there is none."""
        if self.repository is None:
            where = Path.cwd() if places.is_shipped(self._suite.file) else self._suite.file.parent.resolve()
            raise UserError(
                f"{where} is not in a git repository, or git is not on PATH: no revision can be compared; choose a "
                "folder as the base"
            )
        if self.within is None:
            raise UserError(
                f"{self._suite.name} measures rnnbench's own cells, which are not in {self.repository}; "
                "give a suite of this repository"
            )
        return self.repository, self.within

    def side(self, name: str, about: str, tree: Path | None, file: Path, **more: Any) -> Side:
        """Return a side whose code is that of a tree, with the suite of a file.

        Its workers import first from the folder of rnnbench (the tree's own, if it has one), the sources, the project
        nearest to the suite and the top of the tree, each with its `src`. They stand in the tree's copy of the current
        folder. Raises UserError.
        """
        side = Side(name, about, self._suite.model_copy(update={"file": file}), tree=tree, **more)
        with side.errors_in_words():
            paths = [self._scratch]
            folder = Path.cwd()
            if tree is not None:
                code = tree if (tree / PACKAGE_FILE).is_file() else self._scratch
                if lacking := [source for source in self._sources if not (tree / source).is_dir()]:
                    raise UserError(f"source {lacking[0]}: {tree} has no such folder; give one that both sides have")
                folders = module_folders(nearest_project(file.parent, tree), tree)
                paths = [code, *(tree / source for source in self._sources), *folders]
                if self.tree is not None and folder.is_relative_to(self.tree):
                    copy = tree / folder.relative_to(self.tree)
                    folder = next(place for place in (copy, *copy.parents) if place.is_dir())
            variables = {cache: str(self._scratch / f"{name}-caches" / cache.lower()) for cache in CACHES}
            return replace(side, paths=tuple(dict.fromkeys(paths)), folder=folder, variables=variables)

    def in_folder(self, base: str) -> Side:
        """Return the base in a folder, which has the suite at its path in the repository or at the top."""
        folder = Path(base).resolve()
        is_package = not self._suite.file.is_file()  # that of a class in it
        names = [*([self.within] if self.within else []), Path(self._suite.file.name)]
        name = next((name for name in names if (folder / name).is_file() or is_package), None)
        if name is None:
            lacking = " and no ".join(map(str, names))
            raise UserError(f"base {base}: the folder has no {lacking}; give a folder that contains the suite")
        return self._with_own_suite(self.side("base", f"folder {base}", folder, folder / name))

    def at_commit(self, revision: str, name: str, *, has_own_suite: bool = False, known_as: str | None = None) -> Side:
        """Check a revision out into a temporary worktree, which the stack removes.

        It has the given suite's file in place of its own, unless `has_own_suite`. What it lacks of the suite and of the
        files of cells that the suite names is copied from the head. Raises UserError if git makes no worktree, or the
        revision's rnnbench is too old or lacks a source.
        """
        top, within = self.required()
        commit = git.commit(top, revision)
        short = commit[:7]
        revision_name = revision if has_own_suite else short
        about = known_as or (short if commit.startswith(revision_name) else f"{revision_name} ({short})")
        tree = self._stack.enter_context(git.worktree(top, commit)).resolve()
        file = tree / within
        former = None
        lent: tuple[str, ...] = ()
        if has_own_suite and self._suite.file.is_file() and not file.is_file():
            former = git.renamed_from(top, commit, within)
        if former is not None:
            file = tree / former
            about = f"{about}, where the suite is {former}"
        elif self._suite.file.is_file():
            lent = lend(lent_files(self._suite, top, within), top, tree)
            about += in_words(lent)
        if not has_own_suite and file.suffix == ".toml":
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._suite.file, file)
        side = self.side(name, about, tree, file, commit=commit, revision=revision_name, lent=lent)
        with_own_suite = self._with_own_suite(side)  # also if it is not used: a commit without a cell's file is told
        return with_own_suite if has_own_suite else side

    def _with_own_suite(self, side: Side) -> Side:
        """Return a side with the settings of its own file; a class has the same suite on both sides."""
        file = side.suite.file
        with side.errors_in_words():
            return replace(side, suite=suites.read_suite(str(file))) if file.suffix == ".toml" else side


def _interpreter(name: str | None) -> str:
    """Return the interpreter that is given as a path, as a command or as the folder of a virtual environment."""
    if name is None:
        return sys.executable
    python = shutil.which(Path(name) / "bin" / "python") or shutil.which(name)
    if python is None:
        raise UserError(f"base: no such interpreter: {name}; expected a python, or the folder of a virtual environment")
    return str(Path(python).absolute())


def _walk(root: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in COPIED_FOLDERS]
        # A virtual environment, or what rnnbench has measured, such as this check.
        if "pyvenv.cfg" in files or "run.json" in files or is_check(Path(parent)):
            folders.clear()
        else:
            yield from (str((Path(parent) / name).relative_to(root)) for name in files)


def select(
    base: Side, head: Side, only: Mapping[str, Sequence[str]], device: str | None
) -> tuple[list[Group], list[Finding]]:
    """Return the groups of the cases that `only` keeps and both sides have, and the findings of those on one side.

    torch.nn's own cases are kept only if the interpreters differ. Raises UserError if no case is on both sides.
    """
    cases_by_side = {}
    for side in (head, base):  # the head first: its suite must have everything that `only` names
        with side.errors_in_words():
            groups = side.suite.groups(only, device, knows_all=side is head)
        cases_by_side[side.name] = {
            case.key: case
            for case in cases_of(groups)
            if base.python != head.python or case.implementation not in NOT_OF_THE_CODE
        }
    in_base = cases_by_side["base"]
    in_head = cases_by_side["head"]
    common = [case for key, case in in_head.items() if key in in_base]
    if not common:
        raise UserError(
            f"{head.suite.file}: base ({base.about}) and head ({head.about}) have no case in common; "
            "`rnnbench list cases` shows those of a suite"
        )
    return grouped(common), one_sided(in_base, in_head)


@dataclass(frozen=True)
class StrictSuite:
    """The settings by which both sides are measured: of the base's and the head's suite those that are stricter."""

    suite: suites.Suite
    margins: dict[str, float]  # by the keys of the cases
    notes: list[str]  # one, if the base's settings are kept


def strictest(base: suites.Suite, head: suites.Suite, cases: Sequence[Case]) -> StrictSuite:
    """Return the settings by which both sides are measured.

    The smaller margin and the larger budget apply, and the base's settings of measuring.
    """
    old = suites.margins(base.check, cases)
    new = suites.margins(head.check, cases)
    before = base.check.budget_seconds
    after = head.check.budget_seconds
    measure = base.measure
    memory = {name: getattr(base.check, name) for name in ("memory_margin", "memory_margin_bytes")}
    is_looser = any(new[key] > old[key] for key in new) or after < before or measure != head.measure
    is_looser = is_looser or any(getattr(head.check, name) > value for name, value in memory.items())
    note = "where the base's settings are stricter, they apply until this commit is the base"
    stricter = {name: min(value, getattr(head.check, name)) for name, value in memory.items()}
    check = head.check.model_copy(update={"budget_seconds": max(before, after), **stricter})
    suite = head.model_copy(update={"check": check, "measure": measure})
    margins = {key: min(margin, old[key]) for key, margin in new.items()}
    return StrictSuite(suite, margins, [note] if is_looser else [])


class SteadyFiles:
    """The files of both sides as they were before any worker was started."""

    def __init__(self, sides: Iterable[Side]) -> None:
        self._versions: dict[Path, list[int]] = {}
        for side in sides:
            files = [Path(str(side.tree), name) for name in side.files]
            self._versions |= {file: _version(file) for file in files}

    def refuse_changed(self, files_of_sides: Mapping[str, Iterable[str]], written: Iterable[str]) -> None:
        """Raise UserError if a file that workers used has changed since, unless one of them has `written` it.

        `files_of_sides`: the used files, absolute paths by the name of a side.
        """
        by_workers = {Path(file).resolve() for file in written}
        for side, files in files_of_sides.items():
            for file in {Path(name).resolve() for name in files} - by_workers:
                if file in self._versions and _version(file) != self._versions[file]:
                    raise UserError(f"{side}: {file} changed while the check ran; there is no verdict: check again")


def _version(file: Path) -> list[int]:
    """Return when a file was written and its bytes; an empty list if it is not there."""
    return [file.stat().st_mtime_ns, file.stat().st_size] if file.exists() else []
