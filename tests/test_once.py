from pathlib import Path

import pytest

from tests.once import made_once


def test_a_folder_is_made_once_for_all_processes_and_again_if_that_failed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        if len(made) == 1:
            raise ValueError("on purpose")
        (folder / "file").write_text("x")

    monkeypatch.setattr(tmp_path_factory, "getbasetemp", lambda: tmp_path / "worker")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    with pytest.raises(ValueError, match="on purpose"):
        made_once(tmp_path_factory, "pages", make)
    for worker in ("gw1", "gw2"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        assert (made_once(tmp_path_factory, "pages", make) / "file").read_text() == "x"
    assert made == [tmp_path / "pages"] * 2
