"""The user's cache, which holds what is loaded as code, and what was measured of the machine."""

import os
import stat
from pathlib import Path

import pytest

from rnnbench.store.user_cache import CacheFile, private_folder


def test_the_folder_is_made_for_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = private_folder()
    assert folder == tmp_path / "cache" / "rnnbench"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_folder() == folder


@pytest.mark.parametrize("named", ["", "cache"])
def test_without_an_absolute_name_it_is_in_the_home(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert private_folder() == tmp_path / ".cache" / "rnnbench"


@pytest.mark.parametrize("kind", ["group may write", "others may write", "a link", "a file", "of another user", "none"])
def test_a_folder_that_others_could_fill_is_not_used(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "rnnbench"
    match kind:
        case "group may write" | "others may write":
            folder.mkdir()
            folder.chmod(0o720 if kind.startswith("group") else 0o702)
        case "a link":
            (tmp_path / "elsewhere").mkdir()
            folder.symlink_to(tmp_path / "elsewhere")
        case "a file":
            folder.touch()
        case "of another user":
            folder.mkdir(mode=0o700)
            monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
        case _:
            monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert private_folder() is None


def test_a_file_is_read_by_those_it_holds_for_as_long_as_it_is_new_and_whole(tmp_path: Path) -> None:
    file = CacheFile(tmp_path, "rates", {"torch": "2.8.0"})
    assert file.read() == {}
    file.write({"value": 1})
    assert CacheFile(tmp_path, "rates", {"torch": "2.8.0"}).read() == {"value": 1}
    assert CacheFile(tmp_path, "rates", {"torch": "2.9.0"}).read() == {}
    [path] = tmp_path.iterdir()
    os.utime(path, (0, path.stat().st_mtime - 60))
    assert file.read(max_age_seconds=30) == {}
    path.write_text('{"value": ')
    assert file.read() == {}


@pytest.mark.parametrize("folder", [None, Path("/proc/none")])
def test_nothing_is_kept_without_a_folder_that_can_be_written_to(folder: Path | None) -> None:
    file = CacheFile(folder, "rates", {})
    file.write({"value": 1})
    assert file.read() == {}
