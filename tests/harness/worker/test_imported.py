"""The modules, with their files, that a worker reports."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rnnbench.harness.worker.imported import Imported, Opened


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


def test_each_module_is_told_once_with_its_file(folder: Path) -> None:
    imported = Imported()
    importlib.import_module("first_of_test")
    assert imported.new()["first_of_test"] == str(folder / "first_of_test.py")
    assert imported.new() == {}
    importlib.import_module("second_of_test")
    importlib.import_module("space.inner_of_test")  # in a namespace package, which has no file itself
    assert imported.new() == {
        "second_of_test": str(folder / "second_of_test.py"),
        "space.inner_of_test": str(folder / "space" / "inner_of_test.py"),
    }


def test_neither_torch_nor_pythons_own_modules_are_told_but_numpy_is() -> None:
    importlib.import_module("numpy")
    names = {name.partition(".")[0] for name in Imported().new()}
    assert {"numpy", "rnnbench"} <= names
    assert not names & {"torch", "os", "json", "__main__"}


def test_a_module_that_would_do_something_when_it_is_asked_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Touchy(ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "touchy_of_test", Touchy("touchy_of_test"))
    monkeypatch.setitem(sys.modules, "none_of_test", None)
    odd = ModuleType("odd_of_test")
    odd.__file__ = 3  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "odd_of_test", odd)
    assert not {"touchy_of_test", "none_of_test", "odd_of_test"} & Imported().new().keys()


def test_a_file_that_is_opened_is_told_once_and_by_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfg.json").write_text("1")
    opened = Opened()
    monkeypatch.chdir(tmp_path)
    os.close(os.open(b"cfg.json", os.O_RDONLY))
    monkeypatch.chdir("/")
    assert opened.new() == [str(tmp_path / "cfg.json")]
    (tmp_path / "cfg.json").read_bytes()
    Path(os.__file__).read_bytes()  # Python's own
    os.fdopen(os.dup(2)).close()
    assert opened.new() == []
