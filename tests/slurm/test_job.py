import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.slurm.job import MACHINE, is_finished, unlike_the_first
from rnnbench.store.folder import RunFolder
from rnnbench.store.run_info import RunInfo, read_info_file
from tests.doubles.stored import INFO, PROCESSOR

MEASURE = {"windows": 4}


def on(cpu: str, gpus: tuple[str, ...] = (), cores: tuple[int, ...] = (0, 1), stepping: str = "1") -> RunInfo:
    processor = replace(PROCESSOR, model=cpu, stepping=stepping).to_json()
    machine = {"cpu": cpu, "processor": processor, "cores_allowed": list(cores)}
    environment: dict[str, Any] = {"machine": machine, "worker": {"gpus": list(gpus)}}
    return replace(INFO, environment=environment, resolved={"measure": MEASURE})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (on("EPYC"), "processor model was Xeon and is EPYC"),
        (on("Xeon", stepping="2"), "processor stepping was 1 and is 2"),
        (on("Xeon", ("L4",)), r"gpus was \[\] and is \['L4'\]"),
        (replace(on("Xeon"), resolved={"measure": {"windows": 8}}), "windows was 4 and is 8"),
    ],
)
def test_machines_like_the_first_are_taken_and_others_refused_with_what_differs(
    tmp_path: Path, other: RunInfo, words: str
) -> None:
    assert unlike_the_first(tmp_path, on("Xeon")) == unlike_the_first(tmp_path, on("Xeon", cores=(6, 7))) == ""
    assert re.fullmatch(words, unlike_the_first(tmp_path, other))
    assert [file.name for file in tmp_path.iterdir()] == [MACHINE]
    assert read_info_file(tmp_path / MACHINE).environment["machine"]["cores_allowed"] == [0, 1]


def test_of_many_jobs_at_once_one_is_the_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda number: not unlike_the_first(tmp_path, on(f"kind {number % 8}")), range(64)))
    assert sum(accepted) == 8
    assert accepted[int(read_info_file(tmp_path / MACHINE).environment["machine"]["cpu"].split()[1])]


def test_a_part_is_finished_by_the_settings_of_now_or_not_at_all(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, "p00000", MEASURE)
    folder = RunFolder(tmp_path, "p00000")
    for status in ("running", "interrupted", "finished"):
        folder.write_info(replace(on("Xeon"), status=status))
        assert is_finished(tmp_path, "p00000", MEASURE) == (status == "finished")
    assert not is_finished(tmp_path, "p00000", {"windows": 8})
    folder.close()
