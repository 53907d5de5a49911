"""Files that git does not track, and for which both sides can't be compared: the base lacks one, or both share one.

A base that is a revision has only what git tracks. Its code does something else, or fails, if it asks for a file that
was made in the working tree: a generated `_version.py`, weights, a library that was built there, a submodule.
"""

from collections.abc import Iterable, Mapping
from importlib.machinery import all_suffixes
from pathlib import Path, PurePosixPath

from rnnbench.check.same_code import changed_files
from rnnbench.check.sides import Side
from rnnbench.harness.coordinator.recorder import WorkerFiles
from rnnbench.harness.machine import git

COMPILED_SOURCES = {
    *(".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu", ".cuh", ".hip", ".inc"),
    *(".pyx", ".pxd", ".pxi", ".rs", ".f", ".f90", ".cmake"),
}
BUILD_FILES = {"CMakeLists.txt", "Makefile", "meson.build", "setup.py", "Cargo.toml"}


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
