"""The two sides of a check: which code, in which folder, with which interpreter."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

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
    def holds_rnnbench(self) -> bool:
        """Whether rnnbench itself is under test: the side's tree contains one, and workers import it."""
        return self.tree is not None and (self.tree / PACKAGE).is_file()

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

    `base`: a folder, a revision, or None for the head's own files. `sources`: folders of the repository that modules
    are imported from, beside the project's. Raises UserError if base is none of these, if it lacks the suite (NewSuite
    for a revision) or a source, if an interpreter is missing, or if nothing would differ.
    """
    if base == "":  # as a path it is the current folder, so a check in CI would compare the head with itself
        raise UserError("the base is empty (is a shell variable unset?); expected a revision or a folder")
    top = repository(suite)
    tree = suite.file.parent.resolve() if top is None and not suites.is_shipped(suite.file) else top
    python, own_python = (_interpreter(given, side) for given, side in ((base_python, "base"), (head_python, "head")))
    with ExitStack() as stack:
        package = _package_alone(stack)
        state = git.state(top) if top else None
        dirty = ", with uncommitted changes" if state and state["dirty"] else ""
        about = f"the working tree at {state['commit'][:7]}{dirty}" if state else f"folder {suite.file.parent}"
        below = [_below(tree, source) for source in sources]
        paths = _import_paths(tree, suite.file, package, below)
        head = Side("head", about, suite, own_python, paths, tree=tree)
        if base is None:
            if python == own_python:
                raise UserError(
                    "nothing to compare with: give `rnnbench check` --base main, --base RUN or --base-python PY"
                )
            other = replace(head, name="base", about="the same files", python=python)
        elif _is_folder(base, suite, top):
            folder, is_package = Path(base).resolve(), not suite.file.is_file()  # a package: the suite of a class in it
            places = _places(folder, suite, top)
            file = next((place for place in places if place.is_file() or is_package), None)
            if file is None:
                lacking = " and no ".join(str(place.relative_to(folder)) for place in places)
                raise UserError(f"base {base}: the folder has no {lacking}; give a folder that contains the suite")
            paths = _import_paths(folder, file, package, below)
            other = Side("base", f"folder {base}", _suite_at(file, suite), python, paths, tree=folder)
        elif top is None:
            why = _why_no_repository(suite)
            raise UserError(f"base {base}: {why}, and no folder has this name; give a folder that contains the suite")
        else:
            other = at_commit(stack, suite, base, "base", sources, has_own_suite=True)
            other = replace(other, python=python)
        if python == own_python and other.suite.file.resolve() == suite.file.resolve():
            raise UserError(
                f"base {base}: nothing differs: that folder contains the head's own files; give another folder"
            )
        if python != own_python:
            other, head = (replace(side, about=f"{side.about}, {side.python}") for side in (other, head))
        yield _placed(other, tree, package), _placed(head, tree, package)


def at_commit(
    stack: ExitStack,
    suite: suites.Suite,
    revision: str,
    name: str,
    sources: Sequence[str] = (),
    *,
    has_own_suite: bool = False,
) -> Side:
    """Check a revision out into a temporary worktree, which the stack removes.

    It has the given suite's file in place of its own, unless `has_own_suite`. Raises UserError if git makes no
    worktree, or the revision's rnnbench is too old or lacks a source; NewSuite if it lacks its own suite.
    """
    top = required_repository(suite)
    within, commit, package = required_place(suite, top), git.commit(top, revision), _package_alone(stack)
    short = commit[:7]
    shown, about = (revision, f"{revision} ({short})") if has_own_suite else (short, short)
    tree = stack.enter_context(git.worktree(top, commit, shown))
    file = tree / within
    if has_own_suite and suite.file.is_file() and not file.is_file():
        if (old := git.renamed_from(top, commit, within)) is None:
            raise NewSuite(f"base {shown}: {short} has no {within}: the suite is new, so there is nothing to compare")
        file, about = tree / old, f"{about}, where the suite is {old}"
    elif not has_own_suite and file.suffix == ".toml":
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(suite.file, file)
        except OSError as fault:  # the commit has something else there
            raise UserError(f"{short}: no suite can be put at {within}: {fault.strerror}") from None
    empty = tuple(_fill_submodules(top, commit, tree))
    side = Side(
        name, about, replace(suite, file=file), commit=commit, tree=tree, revision=shown, empty_submodules=empty
    )
    with side.errors_in_words():
        paths = _import_paths(tree, file, package, [_below(top, source) for source in sources])
        return _placed(replace(side, suite=_suite_at(file, suite), paths=paths), top, package)


def repository(suite: suites.Suite) -> Path | None:
    """Return the top of the repository whose code a suite measures: its own, or the current folder's if it is shipped.

    None if there is none.
    """
    return git.top(Path() if suites.is_shipped(suite.file) else suite.file.parent)


def required_repository(suite: suites.Suite) -> Path:
    """As `repository`; raises UserError if there is none."""
    if (top := repository(suite)) is None:
        raise UserError(_why_no_repository(suite))
    return top


def _why_no_repository(suite: suites.Suite) -> str:
    if not shutil.which("git"):
        return "git is not installed, or not on PATH"
    where = Path.cwd() if suites.is_shipped(suite.file) else suite.file.parent.resolve()
    return f"{where} is not in a git repository"


def _place(suite: suites.Suite, top: Path | None) -> Path | None:
    """Return the path of a suite in the repository at `top`; None if it measures nothing of it."""
    file = suite.file.resolve()
    if top is None or not file.is_relative_to(top):
        return None
    is_foreign = suites.is_shipped(file) and not (top / WORKER).is_file()  # in an environment below the repository
    return None if is_foreign else file.relative_to(top)


def required_place(suite: suites.Suite, top: Path) -> Path:
    """Return the path of a suite in the repository at `top`; raises UserError if it measures nothing of it."""
    if (within := _place(suite, top)) is None:
        raise UserError(
            f"{suite.name} measures rnnbench's own cells, which are not in {top}; give a suite of this repository"
        )
    return within


def nearest_project(tree: Path, suite_file: Path) -> Path:
    """Return the folder of a suite's project: the nearest one above it with a `pyproject.toml` or the like.

    It is the top of the tree if no folder between has one, or if the suite lies outside of it.
    """
    top = tree.resolve()
    above = [folder for folder in suite_file.resolve().parents if folder.is_relative_to(top) and folder != top]
    return next((folder for folder in above if any((folder / name).is_file() for name in PROJECT_FILES)), tree)


def _import_paths(tree: Path | None, suite_file: Path, package: Path, sources: Sequence[Path]) -> tuple[Path, ...]:
    """Return the folders that a worker imports from first.

    They are the folder of rnnbench (that of the side's own, or `package`); then `sources`, folders below `tree`; then
    the project nearest to the suite and the top of the tree, each with its `src` first.
    """
    if tree is None:
        return (package,)
    code = tree if (tree / WORKER).is_file() else package
    if (tree / PACKAGE).is_file() and code != tree:  # with the other side's rnnbench it would seem unchanged
        raise UserError(f"{tree}: its rnnbench is too old: it has no {WORKER}; choose a revision with this file")
    for source in sources:
        if not (tree / source).is_dir():
            raise UserError(f"source {source}: {tree} has no such folder; give one that both sides have")
    project = nearest_project(tree, suite_file)
    own = [folder for place in (project, tree) for folder in (place / "src", place) if folder.is_dir()]
    return tuple(dict.fromkeys((code, *(tree / source for source in sources), *own)))


def _below(top: Path | None, given: str) -> Path:
    """Return a source folder, given from the current folder, as a path below the top of the repository."""
    folder = Path(given).resolve()
    if not folder.is_dir():
        raise UserError(f"source {given}: no such folder; expected one that modules are imported from")
    if top is None or not folder.is_relative_to(top.resolve()):
        where = "there is no repository" if top is None else f"it is not below {top}"
        raise UserError(f"source {given}: {where}, so the base has no such folder")
    return folder.relative_to(top.resolve())


def _suite_at(file: Path, suite: suites.Suite) -> suites.Suite:
    """Return the suite of a side's file; a class has the same suite on both sides."""
    return suites.read(str(file)) if file.suffix == ".toml" else replace(suite, file=file)


def _placed(side: Side, top: Path | None, scratch: Path) -> Side:
    """Return the side with the folder in which its workers stand, and with caches of its own below `scratch`.

    `top`: the tree of the current folder, of which the side may have a copy.
    """
    folder = Path.cwd()
    if side.tree is not None and top is not None and folder.is_relative_to(top.resolve()):
        own = side.tree / folder.relative_to(top.resolve())
        folder = next(place for place in (own, *own.parents) if place.is_dir())
    variables = {name: str(scratch / f"{side.name}-caches" / name.lower()) for name in CACHES}
    return replace(side, folder=folder, variables=variables)


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
    within = _place(suite, top)
    return [*([folder / within] if within is not None else []), folder / suite.file.name]


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


def _package_alone(stack: ExitStack) -> Path:
    """Make a folder of which only this rnnbench can be imported, so that another interpreter imports its own torch."""
    folder = stack.enter_context(scratch("package"))
    (folder / "rnnbench").symlink_to(PACKAGE_PARENT / "rnnbench")
    return folder


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
