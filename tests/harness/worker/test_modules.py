"""The modules and files of the code under test."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rnnbench.harness.worker.modules import UsedFiles, UserModules


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path; its modules are forgotten at the end."""
    (tmp_path / "space").mkdir()
    for name in ("first_of_test.py", "second_of_test.py", "space/inner_of_test.py"):
        (tmp_path / name).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_each_module_is_told_once_with_its_file_but_torch_and_pythons_own(folder: Path) -> None:
    used = UsedFiles()
    importlib.import_module("first_of_test")
    imported = used.new()["imported"]
    assert imported["first_of_test"] == str(folder / "first_of_test.py")
    names = {name.partition(".")[0] for name in imported}
    assert {"numpy", "rnnbench"} <= names
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


@pytest.fixture
def modules_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_that_a_suite_names_comes_from_the_current_folder_with_what_it_imports(modules_folder: Path) -> None:
    (modules_folder / "mine_named").mkdir()
    (modules_folder / "mine_named" / "cells.py").write_text("import mine_beside\nvalue = mine_beside.value\n")
    (modules_folder / "mine_beside.py").write_text("value = 3\n")
    (modules_folder / "yaml.py").write_text("raise SystemExit('not asked for')\n")
    modules = UserModules(modules_folder)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mine_named.cells")
    modules.add("mine_named.cells:Cell", Path("/"))
    assert importlib.import_module("mine_named.cells").value == 3


@pytest.mark.parametrize("here", [".", "bench"])
def test_a_package_in_src_need_not_be_installed(modules_folder: Path, here: str) -> None:
    for folder in ("src/mine_in_src", "bench"):
        (modules_folder / folder).mkdir(parents=True)
    (modules_folder / "src/mine_in_src/__init__.py").write_text("value = 4\n")
    (modules_folder / "pyproject.toml").write_text("")
    UserModules(modules_folder / here).add("mine_in_src:Cell", Path("/"))
    assert importlib.import_module("mine_in_src").value == 4


def test_a_module_that_a_suite_names_is_not_taken_from_where_another_is_installed(modules_folder: Path) -> None:
    for place in ("installed", "current"):
        (modules_folder / place).mkdir()
        (modules_folder / place / "mine_twice.py").write_text(f"place = {place!r}\n")
    sys.path.append(str(modules_folder / "installed"))
    UserModules(modules_folder / "current").add("mine_twice:Cell", Path("/"))
    assert importlib.import_module("mine_twice").place == "current"


@pytest.mark.parametrize(
    ("cell", "has_current"), [("gru", 1), ("random:Cell", 1), ("mine_no:Cell", 1), ("random:C", 0)]
)
def test_nothing_else_makes_the_current_folder_importable(modules_folder: Path, cell: str, has_current: int) -> None:
    (modules_folder / "random.py").write_text("raise SystemExit('not asked for')\n")
    before = list(sys.path)
    UserModules(modules_folder if has_current else None).add(cell, modules_folder)
    assert sys.path == before


def test_a_file_of_cells_imports_what_lies_beside_it_and_hides_nothing(modules_folder: Path) -> None:
    (modules_folder / "cells").mkdir()
    (modules_folder / "cells" / "mine_helper.py").write_text("value = 5\n")
    (modules_folder / "cells" / "json.py").write_text("raise SystemExit('not asked for')\n")
    UserModules(None).add("cells/mine.py:Cell", modules_folder)
    assert importlib.import_module("mine_helper").value == 5
    assert sys.path[-1] == str(modules_folder / "cells")
