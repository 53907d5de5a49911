"""Checks that would measure code other than they name are refused, on real repositories and folders."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from rnnbench import suites
from rnnbench.errors import UserError
from rnnbench.harness.check.own_code import refuse_equal, refuse_foreign, untracked
from rnnbench.harness.check.sides import Side, sides
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from tests.doubles import repository

SUITE = 'name = "mine"\n[[sweep]]\ncell = "mypkg.cell:Mine"\nreference = "rnn"\n'
FILES = {"bench/mine.toml": SUITE, "python/mypkg/__init__.py": "", "python/mypkg/cell.py": "note = 'old'"}


@pytest.fixture
def repo(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        repository.commit(folder, FILES)
        repository.commit(folder, {"python/mypkg/cell.py": "note = 'new'"})

    return repository.copied(tmp_path_factory, "own-code", make, tmp_path / "there")


@contextmanager
def sides_of(folder: Path, base: str | None = "HEAD~1", base_python: str | None = None) -> Iterator[tuple[Side, Side]]:
    with sides(suites.read(str(folder / "bench" / "mine.toml")), base, base_python, None) as (first, second):
        yield first, second


def imported(side: Side, module: str, *environment: str, **variables: str) -> dict[str, str]:
    """The modules that a process with a side's paths imports; `environment`: more folders of its PYTHONPATH."""
    code = f"""
import sys, json
import {module}
print(json.dumps({{name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", 0)}}))
"""
    path = os.pathsep.join([*map(str, side.paths), *environment])
    command = [side.python, "-P", "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": path, **variables}, check=True, capture_output=True, cwd="/")
    modules: dict[str, str] = json.loads(done.stdout)
    return modules


def test_a_package_of_the_repository_that_pythonpath_finds_stops_the_check(repo: Path) -> None:
    with sides_of(repo) as (base, head):
        modules = {side.name: imported(side, "mypkg.cell", str(repo / "python")) for side in (base, head)}
        with pytest.raises(UserError) as refused:
            refuse_foreign(base, head, modules)
    first, second, remedy = str(refused.value).splitlines()
    own = f"{repo}/python/mypkg/cell.py, though the base has its own: HEAD~1:python/mypkg/cell.py"
    assert second == f"base {base.about}: mypkg.cell was imported from {own}"
    assert "mypkg/__init__.py" in first
    assert remedy.endswith("add python/ as a source of modules.")


@pytest.mark.parametrize("kind", ["editable", "copy"])
def test_an_installed_package_of_the_repository_stops_the_check(repo: Path, tmp_path: Path, kind: str) -> None:
    installed = tmp_path / "env" / "site-packages"
    installed.mkdir(parents=True)
    if kind == "editable":
        (installed / "mypkg.pth").write_text(f"{repo / 'python'}\n")
    else:
        repository.git(repo, "worktree", "add", "--quiet", str(tmp_path / "other"), "HEAD~1")
        (tmp_path / "other" / "python" / "mypkg").rename(installed / "mypkg")
    code = f"import site; site.addsitedir({str(installed)!r})"
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "sitecustomize.py").write_text(code)
    with sides_of(repo) as (base, head):
        modules = {side.name: imported(side, "mypkg.cell", str(tmp_path / "custom")) for side in (base, head)}
        with pytest.raises(UserError, match=r"base HEAD~1 .*: mypkg was imported from .*mypkg/__init__.py"):
            refuse_foreign(base, head, modules)
        refused = pytest.raises(UserError, match=r"head the working tree .*: mypkg was")
        with refused if kind == "copy" else nullcontext():
            refuse_foreign(base, head, modules | {"base": {}})


@pytest.mark.parametrize("layout", ["", "src/"])
def test_a_package_in_the_top_folder_or_in_src_is_each_sides_own_whatever_is_installed(
    tmp_path: Path, layout: str
) -> None:
    repo = tmp_path / "there"
    files = {name.replace("python/", layout): text for name, text in FILES.items()}
    repository.commit(repo, files)
    with sides_of(repo, "HEAD") as (base, head):
        modules = {side.name: imported(side, "mypkg.cell", str(repo / layout)) for side in (base, head)}
        for side in (base, head):
            assert modules[side.name]["mypkg.cell"] == str(Path(side.tree or "", layout, "mypkg", "cell.py"))
        refuse_foreign(base, head, modules)
        refuse_equal(base, head, modules)


def test_a_base_that_is_a_folder_is_held_to_its_own_files_too(repo: Path, tmp_path: Path) -> None:
    repository.git(tmp_path, "clone", "--quiet", str(repo), "other")
    other = tmp_path / "other"
    with sides_of(repo, str(other)) as (base, head):
        modules = {side.name: imported(side, "mypkg.cell", str(other / "python")) for side in (base, head)}
        with pytest.raises(UserError, match=rf"head .* has its own: {repo}/python/mypkg/__init__\.py"):
            refuse_foreign(base, head, modules)


def test_a_tracked_file_of_the_head_that_the_base_opens_stops_the_check(repo: Path) -> None:
    repository.commit(repo, {"bench/cfg.json": "1"})
    (repo / "bench" / "data.bin").write_text("the same on both sides")
    (repo / "link").symlink_to(repo / "bench" / "cfg.json")
    with sides_of(repo) as (base, head):
        none: dict[str, dict[str, str]] = {"base": {}, "head": {}}
        own = [f"{base.tree}/bench/cfg.json", str(repo / "bench" / "data.bin"), "/etc/hosts"]
        refuse_foreign(base, head, none, {"base": own, "head": [str(repo / "bench" / "cfg.json")]})
        for name in ("bench/cfg.json", "link"):
            with pytest.raises(
                UserError, match=r"^base HEAD~1 .*there/bench/cfg\.json of the head was opened\. Both sides"
            ):
                refuse_foreign(base, head, none, {"base": [str(repo / name)], "head": []})


def test_a_module_that_git_does_not_track_and_the_base_lacks_is_told(repo: Path) -> None:
    (repo / ".gitignore").write_text("*.so")
    (repo / "python" / "mypkg" / "fast.so").write_text("")
    with sides_of(repo) as (base, head):
        own = {"mypkg.cell": str(repo / "python/mypkg/cell.py"), "mypkg.fast": str(repo / "python/mypkg/fast.so")}
        [note] = untracked(base, head, {"base": {}, "head": own})
        assert note.startswith("head: imported python/mypkg/fast.so, which git does not track and the base lacks")


def test_folders_outside_of_any_repository_are_compared_with_their_own_modules(tmp_path: Path) -> None:
    for name in ("base", "head"):
        (tmp_path / name / "mypkg").mkdir(parents=True)
        (tmp_path / name / "mypkg" / "cell.py").write_text("")
        (tmp_path / name / "mine.toml").write_text(SUITE)
    with sides(suites.read(str(tmp_path / "head" / "mine.toml")), str(tmp_path / "base"), None, None) as (base, head):
        modules = {side.name: imported(side, "mypkg.cell") for side in (base, head)}
        assert modules["head"]["mypkg.cell"] == str(tmp_path / "head" / "mypkg" / "cell.py")
        refuse_foreign(base, head, modules)
        refuse_equal(base, head, modules)


def test_two_interpreters_with_the_same_files_are_fine_and_one_with_a_copy_is_not(repo: Path, tmp_path: Path) -> None:
    other = repository.executable(tmp_path / "python", f'exec "{sys.executable}" "$@"')
    own = {"mypkg.cell": str(repo / "python/mypkg/cell.py")}
    copy = {"mypkg.cell": str(tmp_path / "env/lib/site-packages/mypkg/cell.py")}
    with sides_of(repo, None, str(other)) as (base, head):
        refuse_foreign(base, head, {"base": own, "head": own})
        refuse_equal(base, head, {"base": copy, "head": copy})
        with pytest.raises(UserError, match=r"base the same files, .*: mypkg\.cell was imported from"):
            refuse_foreign(base, head, {"base": copy, "head": own})


def test_a_cells_file_with_an_absolute_path_stops_the_check(repo: Path) -> None:
    file = {"rnnbench_user_cell_0": str(repo / "python" / "mypkg" / "cell.py")}
    with sides_of(repo) as (base, head), pytest.raises(UserError) as refused:
        refuse_foreign(base, head, {"base": file, "head": file})
    assert "a cell's file was imported from" in str(refused.value)
    assert "give its path relative to the suite" in str(refused.value)


def test_rnnbench_itself_is_whoever_measures_unless_the_repository_holds_it(repo: Path) -> None:
    running = {"rnnbench.cells.gru": str(PACKAGE_PARENT / "rnnbench" / "cells" / "gru.py")}
    vendored = {"tools/rnnbench/rnnbench/__init__.py": "", "tools/rnnbench/rnnbench/cells/gru.py": ""}
    repository.commit(repo, vendored)
    with sides_of(repo, "HEAD") as (base, head):
        refuse_foreign(base, head, {"base": running, "head": running})
    files = dict.fromkeys(["rnnbench/__init__.py", "rnnbench/harness/worker/loop.py", "rnnbench/cells/gru.py"], "")
    repository.commit(repo, files)
    with sides_of(repo, "HEAD") as (base, head):
        with pytest.raises(UserError, match=r"rnnbench\.cells\.gru was imported from"):
            refuse_foreign(base, head, {"base": running, "head": running})
        own = {
            side.name: {"rnnbench.cells.gru": str((side.tree or repo) / "rnnbench/cells/gru.py")}
            for side in (base, head)
        }
        refuse_foreign(base, head, own)
        refuse_equal(base, head, own)


def test_a_revision_whose_rnnbench_is_built_otherwise_is_refused(repo: Path) -> None:
    repository.commit(repo, {"rnnbench/__init__.py": "", "rnnbench/measure/worker.py": ""})
    repository.commit(repo, {"rnnbench/harness/worker/loop.py": ""})
    with (
        pytest.raises(UserError, match=r"HEAD~1: its rnnbench is too old: it has no rnnbench/harness/worker/loop\.py"),
        sides_of(repo, "HEAD~1"),
    ):
        pass


def test_where_neither_side_imports_a_file_of_its_own_nothing_differs(repo: Path) -> None:
    elsewhere = {"other": "/usr/lib/other.py", "rnnbench.cells.gru": "/usr/lib/rnnbench/cells/gru.py"}
    with sides_of(repo) as (base, head):
        with pytest.raises(UserError, match=r"nothing differs between base .* no case imported a file from"):
            refuse_equal(base, head, {"base": elsewhere, "head": elsewhere})
        refuse_equal(base, head, {"base": {}, "head": elsewhere})  # an older rnnbench does not report its imports
        moved = {"mypkg.cell": str(head.root.parent / "python" / "mypkg" / "cell.py")}
        refuse_equal(base, head, {"base": elsewhere, "head": moved})
