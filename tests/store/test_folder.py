import json
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.store.folder import SCHEMA_VERSION, RunFolder, read_info
from tests.stored import INFO


def test_what_run_json_says_comes_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quick")
    info = replace(INFO, status="finished", notes=["a worker was lost"])
    folder.write_info(info)
    assert read_info(folder.path) == info
    assert folder.path.name.startswith("quick-")
    assert [file.name for file in folder.path.iterdir()] == ["run.json"]


def test_two_runs_in_the_same_second_are_kept_apart(tmp_path: Path) -> None:
    assert len({RunFolder.create(tmp_path, "quick").path for _ in range(20)}) == 20


def test_an_out_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out .*file: can't be written: Not a directory"):
        RunFolder.create(tmp_path / "file", "quick")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it has no run.json"),
        ('{"suite": "quick"', "can't be read"),
        ("[]", "schema_version is None"),
        (json.dumps({"schema_version": 99}), f"schema_version is 99; this rnnbench reads {SCHEMA_VERSION}"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "missing 6 required"),
        (json.dumps({"schema_version": SCHEMA_VERSION, "what": 1}), "unexpected keyword argument 'what'"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_words(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=words) as raised:
        read_info(tmp_path)
    assert str(tmp_path) in str(raised.value)
