"""Which cases run the same code on both sides, and for each of the others the doubt for which it is timed.

Each side's worker tells which definitions a case may run (`rnnbench.harness.worker.what_ran`). A case is the same if
these are equal, and its code asked for no other file that has changed. Where in doubt, a case is timed.

A base that is a revision has only what git tracks. Its code does something else, or fails, if it asks for a file that
was made in the working tree: a generated `_version.py`, weights, a library that was built there, a submodule. Such
cases can't be compared.
"""

import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from importlib.machinery import all_suffixes
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rnnbench.check.requirements import is_packaging
from rnnbench.check.sides import INSTALLED_FOLDERS, Side
from rnnbench.harness.coordinator.recorder import WorkerFiles
from rnnbench.harness.machine import git
from rnnbench.harness.protocol import Doubt
from rnnbench.suite.places import ACCEPTED

# packaging: what installs a package, or checks its code; data: all others, such as documents, settings, weights and
# compiled sources
FileKind = Literal["python", "suite", "packaging", "data"]
Changed = Mapping[str, FileKind]  # the tracked files that differ between two sides, relative to their trees

IMPORT = "<import>"  # ends a part that stands for an installed package
HARNESS = "rnnbench/harness/"  # if rnnbench itself is under test: what times all cases
LOOKED_CHANGED = Doubt("guard", "it failed or looked changed in a pair of workers")
NOT_RUN: Set[FileKind] = {"data", "packaging"}  # kinds of files that count only for code that asks for them
COMPARED_BYTES = 1 << 20  # that are compared at once
COMPILED_SOURCES = {
    *(".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu", ".cuh", ".hip", ".inc"),
    *(".pyx", ".pxd", ".pxi", ".rs", ".f", ".f90", ".cmake"),
}
BUILD_FILES = {"CMakeLists.txt", "Makefile", "meson.build", "setup.py", "Cargo.toml"}


@dataclass(frozen=True)
class Used:
    """The files of both sides' trees that workers used, as paths below them."""

    imported: Set[str]
    read: Set[str]  # by anything but an import, whether or not they were imported as well
    missed: Set[str] = frozenset()  # what was asked for and not found, modules without a suffix
    libraries: Set[str] = frozenset()  # absolute paths of compiled code from outside of installed packages


@dataclass(frozen=True)
class SameCode:
    """The cases (keys) that run the same code on both sides, and why each of the others may not."""

    cases: frozenset[str] = frozenset()
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    needs_guard: bool = False  # a pair shall show that they do

    def but(self, cases: Iterable[str], doubt: Doubt = LOOKED_CHANGED) -> "SameCode":
        """Return this with a doubt about some of the cases that run the same code."""
        doubtful = self.cases.intersection(cases)
        return replace(self, cases=self.cases - doubtful, doubts={**self.doubts, **dict.fromkeys(doubtful, doubt)})


def sorted_by_kind(files: Iterable[str], *suites: str) -> Changed:
    """Return the kind of each file.

    `suites`: the suite's file on each side, which is read for both sides anyway. What lies beside it and tells which
    regressions are accepted is no code either.
    """
    kinds: dict[str, FileKind] = {}
    no_code = {*suites, *((PurePosixPath(suite).parent / ACCEPTED).as_posix() for suite in suites)}
    for file in files:
        if file in no_code:
            kinds[file] = "suite"
        elif file.endswith(".py"):
            kinds[file] = "python"
        elif is_packaging(PurePosixPath(file)):
            kinds[file] = "packaging"
        else:
            kinds[file] = "data"
    return kinds


def changed_files(base: Side, head: Side) -> Changed | None:
    """Return the files that differ between both sides; None if more than their files differ, or if nobody knows.

    What git tells of a working tree is not enough, since it leaves out files that it is told not to look at, and
    compares what filters have made of them: the bytes of all tracked files are compared, too.
    """
    if base.tree is None or head.tree is None or base.python != head.python or base.tree == head.tree:
        return None
    # The base's suite may have another name.
    suites = [os.path.relpath(side.suite.file.resolve(), side.tree) for side in (base, head) if side.tree]
    if base.commit is None:
        changed = differing(base.tree, head.tree, base.files | head.files)
        return sorted_by_kind(changed, *suites)
    files = git.changed_files(head.tree, base.commit, head.commit)
    tracked = git.files(head.tree, has_submodules=False)  # the base has none of those that submodules have
    if files is None or tracked is None:
        return None
    seen = set[str]()
    if head.commit is None:
        seen = differing(base.tree, head.tree, base.files.union(tracked))
    return sorted_by_kind(sorted(seen.union(files)), *suites)


def are_on_both(changed: Iterable[str], base: Side, head: Side) -> bool:
    """Return True if both sides have each of the changed files: none was added or removed."""
    return all((file in base.files) == (file in head.files) for file in changed)


def differing(base: Path, head: Path, files: Iterable[str]) -> set[str]:
    """Return the files that have unlike contents below two folders, are links to unlike places, or are missing in one.

    A file that can't be read differs.
    """
    return {file for file in files if _differs(base / file, head / file)}


def _differs(file: Path, other: Path) -> bool:
    links = [each.readlink() if each.is_symlink() else None for each in (file, other)]
    if links[0] != links[1]:
        return True
    if not file.is_file() or not other.is_file():
        return file.is_file() != other.is_file()
    if file.stat().st_size != other.stat().st_size:
        return True
    try:
        with file.open("rb") as one, other.open("rb") as two:
            while (block := one.read(COMPARED_BYTES)) == two.read(COMPARED_BYTES):
                if not block:
                    return False
    except OSError:  # without the right to read it, say: nothing can be said of it
        pass
    return True


def used_files(base: Side, head: Side, files: Mapping[str, WorkerFiles]) -> Used | None:
    """Return the files of both sides' trees that workers used; None if git does not track one of them.

    `files`: what the workers of each side used, by its name.
    """
    run = set[str]()
    texts = set[str]()
    missed = set[str]()
    libraries = set[str]()
    for side, other in ((base, head), (head, base)):
        of_side = files[side.name]
        modules = _in_tree(side, other, of_side.imported.values())
        every = _in_tree(side, other, of_side.opened)
        by_path = _in_tree(side, other, of_side.read)
        if not modules | every | by_path <= side.files:
            return None
        run |= modules
        texts |= (every - modules) | by_path
        missed |= _in_tree(side, other, of_side.missed)
        caches = tuple(side.variables.values())  # of code that this check has compiled for the side
        libraries.update(file for file in of_side.libraries if not file.startswith(caches))
    return Used(run, texts, missed, libraries)


def _in_tree(side: Side, other: Side, files: Iterable[str]) -> set[str]:
    """Return the paths of files in the tree of a side; those elsewhere are left out."""
    return {side.path(Path(file).resolve(), other) for file in files} - {""}


def same_code(
    changed: Changed,
    used: Used | None,
    reached: Mapping[str, Mapping[str, Any]] | None,
    cases: Iterable[str],
    *,
    is_on_both: bool = True,
) -> SameCode:
    """Return the cases (keys) that run the same code on both sides.

    A pair shall show it if a Python file has changed, or if some file is not `on both` sides: code may ask whether a
    file exists, and a folder with any file in it is a package.

    `used`: what `used_files` returns; `reached`: for each case, the replies of both sides about what it may run; None
    if nobody was asked, since nothing has changed that a case could run or read.
    """
    keys = [*cases]
    doubts = dict[str, Doubt]()
    if (of_all := doubt_of_all(changed, used)) is not None:
        for key in keys:  # a changed definition says more than a file that all cases share
            doubts[key] = _doubt_of_code((reached or {}).get(key, {})) or of_all
        return SameCode(doubts=doubts)
    imported: Set[str] = frozenset() if used is None else used.imported
    for key in keys:
        doubt = None if reached is None else _doubt_of_case(changed, imported, reached.get(key, {}))
        if doubt is not None:
            doubts[key] = doubt
    return SameCode(frozenset(keys) - doubts.keys(), doubts, "python" in changed.values() or not is_on_both)


def with_used(changed: Changed, used: Used | None, base: Side, head: Side) -> Changed:
    """Return the changed files with those of the used ones that differ, though git tells or tracks nothing of them."""
    if used is None or base.tree is None or head.tree is None:
        return changed
    further = differing(base.tree, head.tree, (used.imported | used.read) - changed.keys())
    return {**changed, **sorted_by_kind(sorted(further))}


def still_same(same: SameCode, changed: Changed, before: Used | None, now: Used | None) -> SameCode:
    """Return the cases that run the same code, after calls that may have used further files than were used `before`."""
    if not same.cases or before is None:
        return same
    if (doubt := doubt_of_all(changed, now)) is not None:
        return same.but(same.cases, doubt)
    assert now is not None  # of which there is a doubt
    late = sorted((now.imported - before.imported) & changed.keys())
    if late:
        return same.but(same.cases, Doubt("changed", f"{late[0]} changed, which a later call imports"))
    if now.read - before.read and NOT_RUN & {*changed.values()}:
        return same.but(same.cases, Doubt("path", f"a later call opens {min(now.read - before.read)} by its path"))
    return same


def doubt_of_all(changed: Changed, used: Used | None) -> Doubt | None:
    """Return why any case may run or read something else; None if nothing tells that of all of them."""
    if used is None:
        return Doubt("unknown", "a file is used that git does not track")
    installed = (file for file in changed if file.endswith(".py") and INSTALLED_FOLDERS & {*PurePosixPath(file).parts})
    for file in installed:  # no worker follows what lies there
        return Doubt("changed", f"{file} changed, in a folder with the name of one for installed packages")
    read = sorted(used.read & changed.keys())
    # The harness times all cases; imported data are extension modules.
    run = (
        file for file in sorted(used.imported & changed.keys()) if file.startswith(HARNESS) or changed[file] == "data"
    )
    for file in (*read, *run):
        return Doubt("changed", f"{file} changed")
    return _doubt_of_data(changed, used)


def _doubt_of_data(changed: Changed, of_workers: Used) -> Doubt | None:
    """Return why any case may notice a change of files that none of them was seen to open."""
    for file in changed:
        if of_workers.missed & _names(file):
            return Doubt("changed", f"only one side has {file}, which code asks for")
    data = [file for file, kind in changed.items() if kind == "data"]
    if data and of_workers.libraries:
        return Doubt("changed", f"{data[0]} changed, and {min(of_workers.libraries)}, a compiled library, may use it")
    return None


def _names(file: str) -> set[str]:
    """Return the names by which code asks for a file: its path, that of a module, and those of its folders."""
    modules = {file.removesuffix(suffix) for suffix in all_suffixes()}
    folders = {folder.as_posix() for folder in PurePosixPath(file).parents} - {"."}
    return {file} | modules | folders


def _doubt_of_case(changed: Changed, imported: Set[str], replies: Mapping[str, Any]) -> Doubt | None:
    """Return why a case may do something else on both sides; None if it does not, as far as its workers know."""
    if len(replies) < 2 or not all(reply["ok"] for reply in replies.values()):
        reasons = [f"{side}: {reply['reason']}" for side, reply in replies.items() if reply.get("reason")]
        return Doubt("unknown", "; ".join(["the code that it runs could not be determined", *reasons[:1]]))
    if (doubt := _doubt_of_code(replies)) is not None:
        return doubt
    code = next(iter(replies.values()))["code"]  # the same on both sides
    run = {part.partition(":")[0] for part in code} | imported
    counts = {
        "code": "python" in changed.values(),
        "text": any(changed.get(file) == "python" for file in run),
        "path": bool(NOT_RUN & {*changed.values()}),
    }
    every = sorted({Doubt(**fields) for reply in replies.values() for fields in reply["doubts"]})
    return next((doubt for doubt in every if counts.get(doubt.kind, True)), None)


def runs_lent_code(reply: Mapping[str, Any], lent: Iterable[str]) -> bool:
    """Return True if the base has no code of its own that a case runs: all of it is in files that it was lent.

    `reply`: of the base's worker, about what the case may run.
    """
    files = {part.partition(":")[0] for part in reply.get("code", ()) if IMPORT not in part}
    return bool(files) and files <= {*lent}


def _doubt_of_code(replies: Mapping[str, Any]) -> Doubt | None:
    """Return which definition of a case differs; None if none does, or if a side did not answer."""
    if len(replies) < 2 or not all(reply["ok"] for reply in replies.values()):
        return None
    base, head = ({*reply["code"]} for reply in replies.values())
    return Doubt("changed", _what_differs(base, head)) if base != head else None


def _what_differs(base: Set[str], head: Set[str]) -> str:
    """Return what differs among the parts of files that both sides may run: what both have, if there is such a part."""
    before, after = ({part.rpartition(" ")[0] for part in parts} for parts in (base - head, head - base))
    both = sorted(before & after, key=lambda part: (part.endswith(">"), part))
    if both:
        first = both[0]
        what = "changed"
    else:
        first = min(before | after, key=lambda part: (part.endswith(">"), part))
        side = "head" if first in after else "base"
        what = f"is {'imported' if first.endswith(IMPORT) else 'used'} by the {side} alone"
    others = len(before | after) - 1
    return f"{_in_words(first)} {what}{f', and {others} more' if others else ''}"


def _in_words(part: str) -> str:
    """Return a part of a file, without its digest, as `cell.py: Cell.forward`, or `cell.py`."""
    file, _, name = part.partition(":")
    return file if name.startswith("<") else f"{file}: {name}"


def lacking_files(base: Side, head: Side, missed: Mapping[str, Iterable[str | None]]) -> dict[str | None, str]:
    """Return why cases can't be compared whose code asked the base for a file that the head has and git does not track.

    `missed`: absolute paths, without a suffix for modules, with the keys of the cases that asked for each; None stands
    for all of them, here and in what is returned. Empty if the base is no revision: a folder has what its owner built.
    """
    if base.commit is None or base.tree is None or head.tree is None:
        return {}
    reasons: dict[str | None, str] = {}
    tracked: set[str] | None = None
    for path in sorted(missed):
        name = base.path(Path(path).resolve(), head)
        present = _present_name(head.tree, name) if name else ""
        if not present or _present_name(base.tree, name):
            continue
        if tracked is None:  # asked only now, since most checks never need it
            tracked = {*(git.files(head.tree, has_submodules=False) or ()), *base.lent}
        if present in tracked or any(file.startswith(f"{present}/") for file in tracked):
            continue
        why = (
            f"the base lacks {present}, which its code asks for and git does not track; "
            "compare two folders that both have it (--base ../other-checkout)"
        )
        for key in missed[path]:
            reasons.setdefault(key, why)
    return reasons


def _present_name(tree: Path, name: str) -> str:
    """Return the path below a tree of a file or folder of this name, or of a module; empty if there is none."""
    names = (name, *(f"{name}{suffix}" for suffix in all_suffixes()))
    return next((each for each in names if (tree / each).exists()), "")


def shared_library(base: Side, head: Side, files: Mapping[str, WorkerFiles]) -> str:
    """Return why no case can be compared: both sides load one library, though what it is built from differs.

    Empty if no source of compiled code and no build file differs, or each side has its own libraries.
    """
    of_sides = [{Path(file).resolve() for file in files[side.name].libraries} for side in (base, head)]
    shared = sorted(of_sides[0] & of_sides[1])
    if not shared:
        return ""
    changed = sorted(changed_files(base, head) or ())
    source = next((file for file in changed if _is_built(PurePosixPath(file))), "")
    if not source:
        return ""
    return (
        f"both sides load {shared[0]}, though {source} differs; "
        "let each side build its own, in its folder or in TORCH_EXTENSIONS_DIR"
    )


def _is_built(file: PurePosixPath) -> bool:
    return file.suffix in COMPILED_SOURCES or file.name in BUILD_FILES
