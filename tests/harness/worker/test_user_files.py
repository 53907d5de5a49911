"""Where a worker's modules and files come from."""

import importlib
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.worker.__main__ import import_path
from rnnbench.harness.worker.user_files import UsedFiles, UserModules


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder; what is imported from it, and from where, is forgotten at the end."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **texts: str) -> None:
    """Write modules; `__` in a name is a slash."""
    for name, text in texts.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_each_module_is_told_once_with_its_file_but_torch_and_pythons_own(folder: Path) -> None:
    write(folder, first_of_test="", second_of_test="", space__inner_of_test="")
    sys.path.append(str(folder))
    used = UsedFiles()
    importlib.import_module("first_of_test")
    imported = used.new()["imported"]
    assert imported["first_of_test"] == str(folder / "first_of_test.py")
    names = {name.partition(".")[0] for name in imported}
    assert {"pytest", "rnnbench"} <= names
    assert not names & {"torch", "os", "json", "__main__"}
    importlib.import_module("second_of_test")
    importlib.import_module("space.inner_of_test")  # in a namespace package, which has no file itself
    assert used.new()["imported"] == {
        "second_of_test": str(folder / "second_of_test.py"),
        "space.inner_of_test": str(folder / "space" / "inner_of_test.py"),
    }


def test_a_module_that_would_do_something_when_it_is_asked_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Touchy(ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "touchy_of_test", Touchy("touchy_of_test"))
    monkeypatch.setitem(sys.modules, "none_of_test", None)
    assert not {"touchy_of_test", "none_of_test"} & UsedFiles().new()["imported"].keys()


def test_a_file_that_is_opened_is_told_once_and_by_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfg.json").write_text("1")
    used = UsedFiles()
    used.watch()
    monkeypatch.chdir(tmp_path)
    os.close(os.open(b"cfg.json", os.O_RDONLY))
    monkeypatch.chdir("/")
    assert used.new()["opened"] == [str(tmp_path / "cfg.json")]
    (tmp_path / "cfg.json").read_bytes()
    Path(os.__file__).read_bytes()  # Python's own
    os.fdopen(os.dup(2)).close()
    assert used.new()["opened"] == []


def test_a_module_whose_text_is_read_is_told_apart_from_one_that_is_only_imported(folder: Path) -> None:
    write(folder, only_imported_here="import warnings\nwarnings.warn('shown with its line')\n", read_here="")
    sys.path.append(str(folder))
    used = UsedFiles()
    used.watch()
    with pytest.warns(UserWarning, match="shown"):
        importlib.import_module("only_imported_here")
    linecache.checkcache()
    traceback.format_list([traceback.FrameSummary(str(folder / "only_imported_here.py"), 2, "")])
    module: Any = importlib.import_module("read_here")
    told = used.new()
    files = {str(folder / name) for name in ("only_imported_here.py", "read_here.py")}
    assert files <= {*told["opened"]}
    assert not files & {*told["read"]}
    for read in (lambda: Path(str(module.__file__)).read_text(), lambda: module.__loader__.get_source("read_here")):
        read()
    assert used.new()["read"] == [str(folder / "read_here.py")]


@pytest.mark.parametrize(
    ("name", "current", "value"),
    [
        ("mine_named.cells", ".", "from beside"),
        ("mine_in_src", ".", "from src"),  # a package there need not be installed
        ("mine_in_src", "bench", "from src"),
        ("mine_twice", "bench", "from bench"),  # and not from where another is installed
    ],
)
def test_a_module_that_a_suite_names_comes_from_the_current_folder_or_its_project(
    folder: Path, name: str, current: str, value: str
) -> None:
    write(folder, mine_named__cells="from mine_beside import value\n", mine_beside="value = 'from beside'\n")
    write(folder, yaml="raise SystemExit('not asked for')\n", src__mine_in_src="value = 'from src'\n")
    write(folder, installed__mine_twice="value = 'installed'\n", bench__mine_twice="value = 'from bench'\n")
    (folder / "pyproject.toml").touch()
    sys.path.append(str(folder / "installed"))
    UserModules(folder / current).add(f"{name}:Cell", Path("/"))
    assert importlib.import_module(name).value == value


@pytest.mark.parametrize(
    ("cell", "has_current"), [("gru", 1), ("random:Cell", 1), ("mine_no:Cell", 1), ("random:C", 0)]
)
def test_nothing_else_makes_the_current_folder_importable(folder: Path, cell: str, has_current: int) -> None:
    write(folder, random="raise SystemExit('not asked for')\n")
    before = list(sys.path)
    UserModules(folder if has_current else None).add(cell, folder)
    assert sys.path == before


def test_a_file_of_cells_imports_what_lies_beside_it_and_hides_nothing(folder: Path) -> None:
    write(folder, cells__mine_helper="value = 5\n", cells__json="raise SystemExit('not asked for')\n")
    UserModules(None).add("cells/mine.py:Cell", folder)
    assert importlib.import_module("mine_helper").value == 5
    assert sys.path[-1] == str(folder / "cells")


STANDARD = [sysconfig.get_path("stdlib"), f"{sysconfig.get_path('platstdlib')}/lib-dynload"]


@given(
    st.lists(st.sampled_from([*STANDARD, "", "/site-packages", "/a", "/b"]), unique=True), st.lists(st.just("/mine"))
)
def test_the_standard_library_comes_first_and_nothing_is_lost(entries: list[str], first: list[str]) -> None:
    path = import_path(entries, first)
    standard = [entry for entry in entries if entry in STANDARD]
    assert path[: len(standard)] == standard
    assert path[len(standard) :][: len(set(first))] == list(dict.fromkeys(first))
    assert set(path) == {*entries, *first}
