import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnbench.harness.worker.user_modules import UserModules


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_that_a_suite_names_comes_from_the_current_folder_with_what_it_imports(folder: Path) -> None:
    (folder / "mine_named").mkdir()
    (folder / "mine_named" / "cells.py").write_text("import mine_beside\nvalue = mine_beside.value\n")
    (folder / "mine_beside.py").write_text("value = 3\n")
    (folder / "yaml.py").write_text("raise SystemExit('not asked for')\n")
    modules = UserModules(folder)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mine_named.cells")
    modules.add("mine_named.cells:Cell", Path("/"))
    assert importlib.import_module("mine_named.cells").value == 3


def test_a_module_that_a_suite_names_is_not_taken_from_where_another_is_installed(folder: Path) -> None:
    for place in ("installed", "current"):
        (folder / place).mkdir()
        (folder / place / "mine_twice.py").write_text(f"place = {place!r}\n")
    sys.path.append(str(folder / "installed"))
    modules = UserModules(folder / "current")
    modules.add("mine_twice:Cell", Path("/"))
    assert importlib.import_module("mine_twice").place == "current"


@pytest.mark.parametrize("cell", ["gru", "random:Cell", "mine_elsewhere:Cell"])
def test_nothing_else_makes_the_current_folder_importable(folder: Path, cell: str) -> None:
    (folder / "random.py").write_text("raise SystemExit('not asked for')\n")
    before = list(sys.path)
    UserModules(folder).add(cell, folder)
    assert sys.path == before


def test_without_a_current_folder_nothing_comes_from_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "mine_alone.py").write_text("")
    UserModules(None).add("mine_alone:Cell", folder)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mine_alone")


def test_a_file_of_cells_imports_what_lies_beside_it_and_hides_nothing(folder: Path) -> None:
    (folder / "cells").mkdir()
    (folder / "cells" / "mine_helper.py").write_text("value = 5\n")
    (folder / "cells" / "json.py").write_text("raise SystemExit('not asked for')\n")
    UserModules(None).add("cells/mine.py:Cell", folder)
    assert importlib.import_module("mine_helper").value == 5
    assert sys.path[-1] == str(folder / "cells")
