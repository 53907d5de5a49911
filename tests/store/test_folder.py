import json
import threading
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rnnbench.errors import UserError
from rnnbench.store.folder import (
    MAX_OPEN,
    RunFolder,
    last_measurements,
    parts,
    read_info,
    read_samples,
    spoilt_workers,
)
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import SCHEMA_VERSION
from rnnbench.store.windows import read_windows
from tests.doubles import workload as small
from tests.doubles.stored import INFO, window

CASE = small.case("vanilla")


def test_what_run_json_says_comes_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "quick")
    info = replace(INFO, status="finished", notes=["a worker was lost"])
    folder.write_info(info)
    assert read_info(folder.path) == info
    assert folder.path.name.startswith("quick-")
    assert {file.name for file in folder.path.iterdir()} == {"measurements.jsonl", "run.json"}


def test_windows_of_more_workers_than_files_stay_open_are_all_kept(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "quick")
    run.add_measurement(Measurement(CASE, "measured"))
    workers = [f"{number:04d}" for number in range(MAX_OPEN + 3)]

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
    counts = Counter(line["worker"] for line in read_windows(run.path))
    assert counts == dict.fromkeys(workers, 20)


def test_windows_that_are_set_aside_stay_and_are_not_read(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "quick")
    for worker in ("0000", "0001"):
        run.add_window(window(CASE, 0, [1.0], worker=worker))
    run.set_aside("0000")
    run.set_aside("0007")  # a worker that has stored nothing
    run.close()
    assert [line["worker"] for line in read_windows(run.path)] == ["0001"]
    assert spoilt_workers(run.path) == ["0000"]
    assert len((run.path / "spoilt-0000.jsonl").read_text().splitlines()) == 1


def test_parts_are_written_side_by_side_and_read_as_one_run(tmp_path: Path) -> None:
    folders = {name: RunFolder(tmp_path, name) for name in ("", "p0", "p1")}
    for batch_size, name in enumerate(("p0", "p1"), 1):
        case = small.case("vanilla", batch_size=batch_size)
        folders[name].add_measurement(Measurement(case, "measured"))
        folders[name].add_window(window(case, 0, [1.0], worker=f"{name}-0000"))
        folders[name].write_info(replace(INFO, notes=[name]))
        folders[name].add_sample({"of": name})
    folders["p0"].set_aside("p0-0000")
    for name, folder in folders.items():
        with pytest.raises(UserError, match="another rnnbench is writing to this run"):
            RunFolder(tmp_path, name)
        folder.close()
    assert parts(tmp_path) == ["p0", "p1"]
    assert [measurement.case.workload.batch_size for measurement in last_measurements(tmp_path).values()] == [1, 2]
    assert [measurement.case.workload.batch_size for measurement in last_measurements(tmp_path, "p1").values()] == [2]
    assert [line["worker"] for line in read_windows(tmp_path)] == ["p1-0000"]
    assert (list(read_windows(tmp_path, "p0")), spoilt_workers(tmp_path, "p0")) == ([], ["p0-0000"])
    assert spoilt_workers(tmp_path, "p1") == []
    assert read_info(tmp_path, "p1").notes == ["p1"]
    assert [sample["of"] for sample in read_samples(tmp_path)] == ["p0", "p1"]


def test_two_runs_in_the_same_second_are_kept_apart(tmp_path: Path) -> None:
    assert len({RunFolder.create(tmp_path, "quick").path for _ in range(20)}) == 20


def test_two_runs_of_a_second_that_draw_the_same_number_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb", *["aaaa", "cccc"] * 9])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(drawn))
    folders = [RunFolder.create(tmp_path, "quick").path for _ in range(2)]
    assert len(set(folders)) == 2


def test_an_out_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"link: can't be written: File exists"):
        RunFolder.create(tmp_path / "link", "quick")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: can't be written: Not a directory"):
        RunFolder.create(tmp_path / "file", "quick")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it has no run.json"),
        ('{"suite": "quick"', "can't be read"),
        ("[]", "schema_version is None"),
        (json.dumps({"schema_version": 99}), "schema_version is 99; this rnnbench reads 1 and 2"),
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


def test_a_folder_that_was_closed_can_be_discarded_and_closes_no_file_of_others(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "test")
    folder.close()
    with (tmp_path / "other").open("w") as other:  # gets the file descriptor of the closed lock
        folder.discard()
        other.write("written")
    assert (tmp_path / "other").read_text() == "written"
    assert not folder.path.exists()
