"""Files that code asks for and does not find, and libraries that it loads."""

import ctypes
import importlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rnnbench.harness.worker.missed_files import MissedFiles
from rnnbench.harness.worker.user_files import UsedFiles
from rnnbench.project import nearest_project


@pytest.fixture
def missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MissedFiles:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    watched = MissedFiles()
    watched.watch()
    return watched


def below(folder: Path, missed: MissedFiles) -> dict[str, bool]:
    """Return the missed files below a folder, relative to it."""
    return relative_to(folder, missed.new())


def relative_to(folder: Path, paths: dict[str, bool]) -> dict[str, bool]:
    below_folder = {path: is_case for path, is_case in paths.items() if Path(path).is_relative_to(folder)}
    return {str(Path(path).relative_to(folder)): is_case for path, is_case in below_folder.items()}


@pytest.mark.parametrize(
    "ask",
    [
        lambda path: path.exists(),
        lambda path: path.is_dir(),
        os.path.isfile,
        os.path.getsize,
        lambda path: os.access(path, os.R_OK),
        lambda path: os.lstat(bytes(path)),
    ],
)
def test_a_question_whether_a_path_exists_is_noted_if_it_does_not(
    missed: MissedFiles, tmp_path: Path, ask: Callable[[Path], object]
) -> None:
    (tmp_path / "there").write_text("1")
    with missed.noting(is_case=True):
        for name in ("there", "gone"):
            with suppress(FileNotFoundError):
                ask(tmp_path / name)
    assert below(tmp_path, missed) == {"gone": True}
    with suppress(FileNotFoundError):
        ask(tmp_path / "later")
    assert below(tmp_path, missed) == {}  # outside of the context, and each is told once


def test_a_module_is_noted_without_a_suffix_in_each_folder_that_is_not_installed(
    missed: MissedFiles, tmp_path: Path
) -> None:
    (tmp_path / "package_of_test").mkdir()
    for name in ("none_of_test", "package_of_test.inner", "package_of_test"):
        with suppress(ImportError):
            importlib.import_module(name)
    del sys.modules["package_of_test"]
    paths = missed.new()
    assert relative_to(tmp_path, paths) == {"none_of_test": False, "package_of_test/inner": False}
    assert not any(path.startswith(sysconfig.get_path("purelib")) for path in paths)


def test_what_rnnbench_itself_asks_is_not_noted(missed: MissedFiles, tmp_path: Path) -> None:
    with missed.noting(is_case=True):
        nearest_project(tmp_path)
    assert below(tmp_path, missed) == {}


def test_files_that_are_opened_to_read_are_noted_and_so_are_loaded_libraries(tmp_path: Path) -> None:
    used = UsedFiles()
    used.watch()
    extensions = Path(sysconfig.get_path("platstdlib")) / "lib-dynload"
    library = next(extensions.glob("*.so"), None)
    with suppress(FileNotFoundError):
        (tmp_path / "gone.txt").read_text()
    (tmp_path / "made.txt").write_text("1")
    if library is not None:
        copy = shutil.copy(library, tmp_path / "own.so")
        ctypes.CDLL(str(copy))
    told = used.new()
    assert {Path(path).name for path in told["missed"]} & {"gone.txt", "made.txt"} == {"gone.txt"}
    libraries = [Path(file).name for file in told["libraries"] if Path(file).is_relative_to(tmp_path)]
    assert libraries == ([] if library is None else ["own.so"])
