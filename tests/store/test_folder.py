import json
import threading
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.store.folder import MOST_OPEN, SCHEMA_VERSION, RunFolder, read_info, read_windows, spoilt_workers
from rnnbench.store.records import Measurement
from tests import workload as small
from tests.stored import INFO, window

CASE = small.case("vanilla")


def test_what_run_json_says_comes_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quick")
    info = replace(INFO, status="finished", notes=["a worker was lost"])
    folder.write_info(info)
    assert read_info(folder.path) == info
    assert folder.path.name.startswith("quick-")
    assert [file.name for file in folder.path.iterdir()] == ["run.json"]


def test_windows_of_more_workers_than_files_stay_open_are_all_kept(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "quick")
    run.add_measurement(Measurement(CASE, "measured"))
    workers = [f"{number:04d}" for number in range(MOST_OPEN + 3)]

    def write(mine: list[str]) -> None:
        for replicate in range(20):
            for worker in mine:
                run.add_window(window(CASE, replicate, [1.0], worker=worker))

    threads = [threading.Thread(target=write, args=(workers[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.close()
    kept = Counter(line["worker"] for line in read_windows(run.path))
    assert kept == dict.fromkeys(workers, 20)


def test_windows_that_are_set_aside_stay_and_are_not_read(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "quick")
    for worker in ("0000", "0001"):
        run.add_window(window(CASE, 0, [1.0], worker=worker))
    run.set_aside("0000")
    run.set_aside("0007")  # which never made any
    run.close()
    assert [line["worker"] for line in read_windows(run.path)] == ["0001"]
    assert spoilt_workers(run.path) == ["0000"]
    assert len((run.path / "spoilt-0000.jsonl").read_text().splitlines()) == 1


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
        (json.dumps({"schema_version": SCHEMA_VERSION}), "suite: missing"),
        (json.dumps({**asdict(INFO), "what": 1}), "unexpected keyword argument 'what'"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_words(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=words) as raised:
        read_info(tmp_path)
    assert str(tmp_path) in str(raised.value)
